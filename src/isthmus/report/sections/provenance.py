"""What made it, to the version."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

from isthmus.report.blocks import Code, Section, Table
from isthmus.report.subject import Subject

__all__ = ["provenance"]

PACKAGES = ("isthmus", "torch", "numpy", "scikit-learn", "matplotlib")


def provenance(subject: Subject) -> Section:
    """The command or the lines of code, the seed, the machine's threads, versions."""
    name = type(subject.estimator).__name__
    given = [
        f"{key}={value!r}"
        for key, value in subject.estimator.get_params(deep=False).items()
        if _changed(subject, key, value)
    ]
    pairs = any(given is not None for given in (subject.clean, subject.references, subject.targets))
    pairs = pairs or subject.labels_positions
    data, shown = ("X, y", 'X, "report.html", y') if pairs else ("X", 'X, "report.html"')
    code = f"from isthmus import {name}\n\nmodel = {_call(name, given)}.fit({data})\nmodel.report({shown})"
    blocks: list[Code | Table] = []
    if subject.command is not None:
        blocks.append(Code(subject.command, "The command that made this page:"))
    blocks.append(Code(code, "The model in Python (X: the training rows; the rows shown here may be others):"))
    threads, device = torch.get_num_threads(), subject.module.device
    seconds = [row.get("seconds", 0.0) for row in subject.line.history_]
    facts = [
        ("data shown", _shown(subject)),
        ("random_state", repr(subject.line.get_params(deep=False).get("random_state"))),
        ("training", f"{sum(seconds):.2f} s, {len(seconds)} epochs on {device}, threads: {threads}"),
        ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        *((package, _version(package)) for package in PACKAGES),
    ]
    return Section("provenance", "How it was made", [*blocks, Table(("what", "value"), facts)])


def _shown(subject: Subject) -> str:
    if subject.layout == "texts":
        return f"{len(subject):,} texts, from {min(subject.lengths)} to {max(subject.lengths)} pieces"
    if subject.layout in ("series", "windows"):
        return f"{len(subject):,} series, from {min(subject.lengths)} to {max(subject.lengths)} steps"
    if subject.ragged:
        return f"{len(subject)} pictures of several sizes, {subject.rows[0].dtype}"
    return f"{' × '.join(map(str, subject.rows.shape))}, {subject.rows.dtype}"


def _call(name: str, arguments: list[str]) -> str:
    """The constructor's call, one argument a line where one line is too long."""
    line = f"{name}({', '.join(arguments)})"
    return line if len(line) <= 90 else f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _changed(subject: Subject, key: str, value: object) -> bool:
    default = type(subject.estimator)().get_params(deep=False).get(key)
    return repr(value) != repr(default)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
