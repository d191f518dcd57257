"""A model goes to the hub with its card and comes back the same; the hub is a folder behind huggingface_hub's names."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import isthmus
from isthmus.cli import app
from isthmus.errors import FileError, ParameterError, UnsupportedError

hub = pytest.importorskip("huggingface_hub", reason="pip install 'isthmus[hub]'")
X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")


@pytest.fixture(scope="module")
def model():
    encoder = isthmus.MLPEncoder((6,))
    return isthmus.VariationalAutoencoder(latent_dim=2, encoder=encoder, max_epochs=2, random_state=0).fit(X)


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A hub in a folder, told of as the real one is."""
    place, told = tmp_path / "far", []

    class Api:
        def __init__(self, token=None):
            told.append(("token", token))

        def create_repo(self, repo_id, *, private=None, exist_ok=False):
            assert exist_ok
            told.append(("create", repo_id, private))
            (place / repo_id).mkdir(parents=True, exist_ok=True)

        def upload_folder(self, *, repo_id, folder_path, commit_message, revision):
            told.append(("upload", commit_message, revision))
            shutil.copytree(folder_path, place / repo_id, dirs_exist_ok=True)
            return SimpleNamespace(commit_url=f"far:{repo_id}/commit/1")

    def download(repo_id, *, revision, token, cache_dir, allow_patterns):
        told.append(("download", revision, token))
        found = place / repo_id
        if not found.is_dir():
            raise hub.errors.LocalEntryNotFoundError("no such\nrepository")
        linked = tmp_path / "snapshot"  # as the real one gives a folder of links
        linked.mkdir()
        for name in allow_patterns:
            (linked / name).symlink_to(found / name)
        return str(linked)

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "snapshot_download", download)
    return SimpleNamespace(place=place, told=told)


def test_a_model_comes_back_bit_for_bit(model, far):
    told = {"private": True, "token": "t", "revision": "dev", "message": "Here it is"}
    assert model.push_to_hub("me/vae", **told) == "far:me/vae/commit/1"
    assert far.told == [("token", "t"), ("create", "me/vae", True), ("upload", "Here it is", "dev")]
    again = isthmus.from_pretrained("me/vae", revision="abc", token="t")
    assert far.told[-1] == ("download", "abc", "t")
    assert np.array_equal(again.transform(X), model.transform(X))


def test_the_card_has_a_head_and_the_figures_of_the_report(model, far):
    yaml = pytest.importorskip("yaml", reason="what reads the head of a card")
    model.push_to_hub("me/vae", X, license="mit")
    text = (far.place / "me/vae/README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "isthmus",
        "license": "mit",
        "tags": ["isthmus", "VariationalAutoencoder"],
    }
    assert "isthmus.from_pretrained('me/vae')" in body
    weights = sum(weight.numel() for weight in model.module_.parameters())
    assert f"| weights | {weights:,} | trained numbers |" in body
    assert f"| objective | {model.history_[-1]['objective']:.6g} |" in body
    assert "| latent_dim | `2` |" in body
    assert "<html" in (far.place / "me/vae/report.html").read_text(encoding="utf-8")


def test_a_card_without_rows_and_a_folder_at_hand(model, far, tmp_path):
    model.push_to_hub("me/vae")
    text = (far.place / "me/vae/README.md").read_text(encoding="utf-8")
    assert "license" not in text
    assert "| max_epochs | `2` |" in text
    assert not (far.place / "me/vae/report.html").exists()
    model.save(tmp_path / "here")
    before = list(far.told)
    assert np.array_equal(isthmus.from_pretrained(tmp_path / "here").transform(X), model.transform(X))
    assert far.told == before


def test_what_goes_wrong_is_named(model, far, monkeypatch):
    with pytest.raises(FileError, match="repo_id 'me/none' cannot be read: no such repository"):
        isthmus.from_pretrained("me/none")
    (far.place / "me/empty").mkdir(parents=True)
    with pytest.raises(FileError, match="is missing: not a model of isthmus"):
        isthmus.from_pretrained("me/empty")

    def refuse(*_, **__):
        raise ValueError("a name must be\nname/model")

    monkeypatch.setattr(hub.HfApi, "create_repo", refuse)
    with pytest.raises(FileError, match="repo_id '/' cannot be written: a name must be name/model"):
        model.push_to_hub("/")

    def no_network(*_, **__):
        raise hub.errors.HTTPError("no route to host")

    monkeypatch.setattr(hub.HfApi, "create_repo", no_network)
    with pytest.raises(FileError, match="repo_id 'me/vae' cannot be written: no route to host"):
        model.push_to_hub("me/vae")
    for act in (model.push_to_hub, isthmus.from_pretrained):
        with pytest.raises(ParameterError, match=r"hub: repo_id must be a str .*, got None"):
            act(None)
    with pytest.raises(ValueError, match="not fitted yet"):
        isthmus.Autoencoder().push_to_hub("me/vae")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for act in (lambda: model.push_to_hub("me/vae"), lambda: isthmus.from_pretrained("me/vae")):
        with pytest.raises(UnsupportedError, match=r"needs huggingface_hub: pip install 'isthmus\[hub\]'"):
            act()


def test_the_command_line_pushes(model, far, tmp_path):
    model.save(tmp_path / "model")
    np.save(tmp_path / "rows.npy", X)
    words = ["push", tmp_path / "model", "me/vae", "--data", tmp_path / "rows.npy", "--private"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert (done.exit_code, done.stdout) == (0, "far:me/vae/commit/1\n")
    assert ("create", "me/vae", True) in far.told
