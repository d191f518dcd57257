"""The page as a whole: complete, self-contained, escaped, repeatable; and the model left as it was."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import isthmus.estimators
from isthmus import Autoencoder
from isthmus.errors import DataError, FileError
from isthmus.estimators.inference import NotFittedError
from isthmus.report import Chapter, Subject, write_page
from isthmus.report.sections.provenance import provenance

PAGES = ("vanilla", "sparse_kl", "variational", "table", "anomalies", "unet", "masks")
ALWAYS = ["summary", "learning", "provenance"]
COMMON = [*ALWAYS, "reconstructions", "errors", "latent", "units", "walk"]
OWN = {
    "denoising": ["denoising"],
    "sparse_kl": ["sparsity"],
    "sparse_l1": ["sparsity"],
    "contractive": ["jacobian"],
    "variational": ["posterior", "samples"],
    "table_variational": ["posterior", "samples"],
    "anomalies": ["anomalies"],
    "conv": ["features"],
    "conv_variational": ["features", "posterior", "samples"],
}
ALL = {"unet": [*ALWAYS, "errors", "denoising", "features"], "masks": [*ALWAYS, "masks", "features"]}
"""Of models whose skips go round the code."""


class Page(HTMLParser):
    """Tags with their attributes, and every text between them."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_estimator_has_a_report(trained):
    reported = {type(model).__name__ for model, *_ in trained.values()}
    assert reported == set(isthmus.estimators.__all__) - {"Seq2Seq"}  # which test_sequences.py has


def test_every_section_that_applies_is_there_and_no_other(made):
    for name, (sections, *_) in made.items():
        keys = [section.key for section in sections]
        assert sorted(keys) == sorted(ALL.get(name, [*COMMON, *OWN.get(name, [])])), name


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_fetched_and_nothing_runs(pages, name):
    page = Page(pages[name])
    assert not re.search(r"https?:|[\"'(]//", pages[name])
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "xlink:href"):
            target = attributes.get(key)
            assert target is None or target.startswith(("#", "data:image/png;base64,")), (tag, target)


@pytest.mark.parametrize("name", PAGES)
def test_tags_close_anchors_lead_somewhere_and_ids_are_unique(pages, name):
    page = Page(pages[name])
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.all("a") + page.all("use"):
        assert attributes["href"][1:] in ids


@pytest.mark.parametrize("name", PAGES)
def test_pictures_say_in_words_what_they_show(pages, name):
    pictures = [attributes for attributes in Page(pages[name]).all("svg") if attributes.get("role") == "img"]
    assert len(pictures) >= 5
    assert len(pictures) == pages[name].count("<figure")
    assert all(len(attributes["aria-label"]) > 15 for attributes in pictures)


def test_phone_and_dark_mode_are_served(pages):
    assert 'name="viewport" content="width=device-width' in pages["vanilla"]
    assert "prefers-color-scheme:dark" in pages["vanilla"]
    assert "var(--ink)" in pages["vanilla"]


def test_column_names_are_text_not_markup(pages):
    assert '<script>alert("x")' not in pages["table"]
    assert any('<script>alert("x")' in text for text in Page(pages["anomalies"]).texts)


def test_every_term_of_the_objective_has_a_curve(pages, trained):
    model = trained["sparse_kl"][0]
    terms = [name for name in model.history_[0] if f"val_{name}" in model.history_[0]]
    assert terms == ["loss", "kl_sparsity", "objective"]
    for term in terms:
        assert f'aria-label="{term.replace("_", " ")} against epochs' in pages["sparse_kl"]


def test_same_model_same_rows_same_file(pages, trained, tmp_path):
    model, rows, labels = trained["variational"]
    torch.manual_seed(9)
    again = model.report(rows, tmp_path / "again.html", labels).read_text(encoding="utf-8")
    assert again == pages["variational"]


def test_the_model_and_the_global_state_are_left_alone(made):
    for _, before, after in made.values():
        assert after == before
        assert all(gradient is None for gradient in after["gradients"])


def test_the_command_is_shown(trained, tmp_path):
    model, rows, _ = trained["vanilla"]
    subject = Subject(model, rows)
    subject.command = "isthmus report m 'a & b.npy'"
    text = write_page(tmp_path / "r.html", "A <title>", [Chapter("m", "m", [provenance(subject)])]).read_text("utf-8")
    assert "isthmus report m &#x27;a &amp; b.npy&#x27;" in text
    assert "<h1>A &lt;title&gt;</h1>" in text


# ---------------------------------------------------------------------- where it is written


def test_an_existing_file_stands_unless_overwrite(trained, tmp_path):
    model, rows, _ = trained["vanilla"]
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(FileError, match=r"report\.html exists; choose another path or overwrite=True"):
        model.report(rows, path)
    assert path.read_text() == "mine"
    write_page(path, "title", [], overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(("where", "message"), [("gone/report.html", "no folder"), ("", "must be a file")])
def test_a_path_that_cannot_be_is_refused_by_name(trained, tmp_path, where, message):
    model, rows, _ = trained["vanilla"]
    with pytest.raises(FileError, match=f"path.*{message}"):
        model.report(rows, tmp_path / where)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_another_length_are_refused_and_nothing_is_written(trained, tmp_path):
    model, rows, labels = trained["vanilla"]
    with pytest.raises(DataError, match=r"y must be labels of shape \(120,\)"):
        model.report(rows, tmp_path / "r.html", labels[:-1])
    assert list(tmp_path.iterdir()) == []


def test_an_unfitted_model_says_so(tmp_path):
    with pytest.raises(NotFittedError, match="call fit"):
        Autoencoder().report(np.zeros((3, 4)), tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []
