"""To the Hugging Face hub and back: a saved model's folder, with a card made from its report.

A repository holds what `save` writes, which is data alone, and a README.md; so loading one never runs code.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isthmus.checks import check_parameters, instance
from isthmus.errors import FileError, UnsupportedError
from isthmus.persistence import describe, load, save
from isthmus.persistence.layout import HISTORY, LEARNT, SPEC, WEIGHTS
from isthmus.report import Section, Subject, Table, build_sections, write_sections

__all__ = ["card", "from_pretrained", "push_to_hub"]

FILES = (WEIGHTS, HISTORY, LEARNT, SPEC)


def from_pretrained(
    repo_id: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    parts: Sequence[type] = (),
) -> Any:
    """A fitted estimator from the Hugging Face hub, or from a folder; it gives what it gave, bit for bit.

    Nothing in a repository can make code run: names resolve among the library's parts and ``parts``.

    Parameters
    ----------
    repo_id : str or path
        "name/model"; or a folder that stands on this machine.
    revision : str, optional
        A branch, a tag or a commit. Give a commit where others may write.
    token : str or bool, optional
        Of a private repository; None: the one that huggingface_hub remembers.
    cache_dir : path, optional
    parts : sequence of classes
        As in `isthmus.load`.

    Raises
    ------
    FileError
        Where there is no such repository or revision, or it holds no model.
    UnsupportedError
        Where huggingface_hub is missing.
    """
    _check_id(repo_id, (str, os.PathLike), "a str or a path")
    if os.path.isdir(repo_id):
        return load(repo_id, parts)
    hub = _hub()
    try:
        folder = hub.snapshot_download(
            os.fspath(repo_id), revision=revision, token=token, cache_dir=cache_dir, allow_patterns=list(FILES)
        )
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise FileError(f"repo_id {os.fspath(repo_id)!r} cannot be read: {_one_line(error)}") from error
    return load(folder, parts)


def push_to_hub(
    estimator: Any,
    repo_id: str,
    X: Any,
    y: Any,
    *,
    private: bool | None,
    revision: str | None,
    token: str | bool | None,
    license: str | None,
    message: str,
) -> str:
    """Upload a fitted estimator with its card; see `Exporting.push_to_hub`."""
    _check_id(repo_id, str, "a str such as 'name/model'")
    hub = _hub()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save(estimator, folder)
        sections = [] if X is None else build_sections(Subject(estimator, X, y))
        (folder / "README.md").write_text(card(folder, repo_id, sections, license), encoding="utf-8")
        if sections:
            write_sections(estimator, sections, folder / "report.html")
        try:
            api = hub.HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, revision=revision)
        except (OSError, ValueError, hub.errors.HTTPError) as error:
            raise FileError(f"repo_id {repo_id!r} cannot be written: {_one_line(error)}") from error
    return str(getattr(done, "commit_url", done))


def _check_id(repo_id: Any, kind: Any, described: str) -> None:
    check_parameters("hub", {"repo_id": repo_id}, {"repo_id": instance(kind, described)})


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise UnsupportedError("the hub needs huggingface_hub: pip install 'isthmus[hub]'") from error
    return huggingface_hub


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


# ---------------------------------------------------------------------- the card


def card(folder: Path, repo_id: str, sections: Sequence[Section] = (), license: str | None = None) -> str:
    """README.md of a saved model: what it is, its figures, its parameters, and how it is loaded.

    Parameters
    ----------
    folder : path
        What `save` wrote.
    repo_id : str
    sections : sequence of Section
        Of the report, whose tables of the model and its figures the card shows.
    license : str, optional
        An identifier of the hub, such as "mit".
    """
    described = describe(folder)
    name, history = described.spec["estimator"], described.history or []
    head = ["---", "library_name: isthmus", "tags:", "- isthmus", f"- {json.dumps(name)}"]
    head += [] if license is None else [f"license: {json.dumps(license)}"]
    told = [
        f"A `{name}` of isthmus, trained for {len(history)} epochs.",
        f"```python\nimport isthmus\n\nmodel = isthmus.from_pretrained({repo_id!r})\n```",
        "The files are data: tensors, JSON and their digests. Loading them runs no code.",
    ]
    tables = [block for section in sections if section.key == "summary" for block in section.blocks]
    told += [_table(block.head, block.rows) for block in tables if isinstance(block, Table)]
    if history:
        told += [
            "## The last epoch",
            _table(("figure", "value"), [(key, f"{v:.6g}") for key, v in history[-1].items()]),
        ]
    params = [(key, f"`{json.dumps(value)}`") for key, value in described.spec["params"].items()]
    told += ["## Parameters", _table(("parameter", "value"), params)]
    versions = ", ".join(f"{key} {value}" for key, value in described.spec["versions"].items())
    told += [f"Saved by {versions}, format {described.spec['format_version']}."]
    return "\n".join([*head, "---", "", f"# {repo_id}", "", "\n\n".join(told)]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
