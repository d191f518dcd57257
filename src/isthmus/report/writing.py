"""From a trained model to a file: the sections that apply, one page, written beside and renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isthmus.checks import check_parameters, instance, optional
from isthmus.errors import FileError
from isthmus.report.blocks import Block, Section
from isthmus.report.page import Chapter, render
from isthmus.report.plots import style
from isthmus.report.sections import SECTIONS
from isthmus.report.subject import Subject

__all__ = ["build_sections", "check_target", "write_page", "write_report", "write_sections"]

TEXT = optional(instance(str, "a str"))


def write_report(
    estimator: Any,
    X: Any,
    path: str | os.PathLike[str],
    y: Any = None,
    *,
    overwrite: bool = False,
    title: str | None = None,
    image_shape: Any = "auto",
    command: str | None = None,
) -> Path:
    """The report of one model; see `Reporting.report` of the estimators for the parameters."""
    check_target(path, overwrite)
    check_parameters("report", {"title": title, "command": command}, dict.fromkeys(("title", "command"), TEXT))
    subject = Subject(estimator, X, y, image_shape)
    return write_sections(estimator, build_sections(subject, command), path, overwrite=overwrite, title=title)


def write_sections(
    estimator: Any,
    sections: list[Section],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    title: str | None = None,
) -> Path:
    """The page of one model whose sections are made."""
    name = type(estimator).__name__
    return write_page(path, title or f"{name}: what it learnt", [Chapter("model", name, sections)], overwrite=overwrite)


def build_sections(subject: Subject, command: str | None = None) -> list[Section]:
    """Every section that this model gives rise to, in order."""
    subject.command = command
    with style():
        made = [make(subject) for make in SECTIONS]
    return [section for section in made if section is not None]


def write_page(
    path: str | os.PathLike[str],
    title: str,
    chapters: Sequence[Chapter],
    lead: Sequence[Block] = (),
    *,
    overwrite: bool = False,
) -> Path:
    """Render, write beside the target, rename: a reader never meets half a file."""
    target = check_target(path, overwrite)
    text = render(title, chapters, lead)
    try:
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise FileError(f"path: cannot write {target}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        if overwrite:
            os.replace(beside, target)
        else:
            os.link(beside, target)  # fails where somebody else wrote it meanwhile
            os.unlink(beside)
    except OSError as error:
        raise FileError(f"path: cannot write {target}: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
    return target


def check_target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path, or `FileError` where a report cannot or must not go there; before any work."""
    if not isinstance(path, (str, os.PathLike)):
        raise FileError(f"path must be a str or a Path, got {path!r}")
    target = Path(path)
    try:
        target.lstat()  # raises for what can be no name; what is missing may be written
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise FileError(f"path {path!r:.80} is not usable: {getattr(error, 'strerror', None) or error}") from error
    if target.is_dir():
        raise FileError(f"path must be a file such as report.html, got the folder {target}")
    if target.exists() and not overwrite:
        raise FileError(f"path {target} exists; choose another path or overwrite=True")
    if not target.parent.is_dir():
        raise FileError(f"path: no folder {target.parent} to write {target.name} to")
    if not os.access(target.parent, os.W_OK):
        raise FileError(f"path: the folder {target.parent} cannot be written to")
    return target
