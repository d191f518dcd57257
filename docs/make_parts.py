"""Write docs/parts.md from the docstrings: every part of every kind, and every estimator.

python docs/make_parts.py            # writes the file
python docs/make_parts.py --check    # only says, by its exit status, whether it is up to date
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from isthmus import estimators, part, spec
from isthmus.estimators.parameters import Parameters
from isthmus.optimizers import Optimizer
from isthmus.schedules import Schedule

PAGE = Path(__file__).with_name("parts.md")
BASES = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    **{kind: getattr(part, kind.capitalize()) for kind in spec.FAMILIES},
}
ARGUMENT = {"scaler": "scale", "augmentation": "augmentations", "penalty": "penalties"}
OPENING = """\
# Parts and estimators

<!-- Written by docs/make_parts.py from the docstrings: edit those, then run `make docs`. -->

A part is given by its name, which takes its defaults (`encoder="mlp"`), or as an object
(`encoder=MLPEncoder(hidden_dims=(64,))`). `isthmus list` prints the same list in a terminal.
"""
CITATION = re.compile(
    r"(?:[A-Z][a-z][\w-]*, )*[A-Z][\w-]+(?: et al\.)?(?: & [A-Z][\w-]+)?,?(?: [\w ,'-]+?,)? \(?(?:19|20)\d\d\b\)?"
    r"(?:, (?:section|appendix) \w[\w.]*\w)?"
    r"|[A-Z]\w+ & [A-Z]\w+, ch\. \d+"
)


def sections(documented: Any) -> dict[str, str]:
    """A numpydoc docstring by section; what comes before the first is under ""."""
    pieces = re.split(r"(?m)^(.+)\n-{3,}$", inspect.cleandoc(documented.__doc__ or ""))
    return {"": pieces[0].strip(), **dict(zip(pieces[1::2], map(str.rstrip, pieces[2::2]), strict=True))}


def described(cls: type) -> dict[str, tuple[str, str]]:
    """Each parameter's type and description, a class's own before those of its bases."""
    found: dict[str, tuple[str, str]] = {}
    for base in cls.__mro__:
        lines = sections(base).get("Parameters", "").strip("\n").splitlines()
        heads = [i for i, line in enumerate(lines) if line and not line.startswith(" ")]
        for start, stop in zip(heads, [*heads[1:], len(lines)], strict=False):
            names, _, kind = lines[start].partition(" : ")
            text = " ".join(line.strip() for line in lines[start + 1 : stop]).strip()
            for name in names.split(","):
                found.setdefault(name.strip(), (kind.strip(), text))
    return found


def parameters(cls: type, names: list[str] | None = None) -> Iterator[str]:
    """A table: name, default, what it is."""
    known, signature = described(cls), inspect.signature(cls).parameters
    chosen = list(signature) if names is None else names
    if not chosen:
        return
    yield from ("", "| parameter | default | what it is |", "| --- | --- | --- |")
    for name in chosen:
        kind, text = known.get(name, ("", ""))
        said = f"{kind}: {text}" if kind and text else kind or text
        yield f"| `{name}` | `{signature[name].default!r}` | {cell(said)} |"


def cell(text: str) -> str:
    """Text that may stand in a table's cell."""
    return text.replace("``", "`").replace("|", "\\|")


def papers(cls: type) -> str:
    """The works that the class's docstring cites, in its words."""
    text = " ".join((cls.__doc__ or "").split())
    return "; ".join(dict.fromkeys(match.group().replace(" (", ", ").rstrip(")") for match in CITATION.finditer(text)))


def prose(cls: type) -> str:
    """The docstring's text before its sections."""
    return sections(cls)[""].replace("``", "`")


def of_kind(kind: str, entries: list[spec.Entry]) -> Iterator[str]:
    """One kind: what it is, its members in a table, then each of them."""
    base, argument = BASES[kind], ARGUMENT.get(kind, kind)
    yield from ("", f"## {kind.capitalize()}", "", sections(base)[""].replace("``", "`"), "")
    yield f"Given as `{argument}=`."
    yield from ("", "| name | class | formula |", "| --- | --- | --- |")
    for entry in entries:
        name = entry.cls.__name__
        yield f'| `"{entry.name}"` | [`{name}`](#{name.lower()}) | {cell(entry.formula or entry.summary)} |'
    for entry in entries:
        yield from ("", f"### {entry.cls.__name__}", "", f'`"{entry.name}"`')
        if entry.formula:
            yield from ("", f"    {entry.formula}")
        yield from ("", prose(entry.cls))
        yield from parameters(entry.cls)
        if cited := papers(entry.cls):
            yield from ("", f"Papers: {cited}.")


def of_estimator(cls: type) -> Iterator[str]:
    """One estimator: what it is, the parameters in which it differs from the common ones, its methods."""
    yield from ("", f"### {cls.__name__}", "", prose(cls))
    signature = inspect.signature(cls).parameters
    shares = issubclass(cls, Parameters)
    common = inspect.signature(Parameters).parameters if shares else {}
    if not shares:
        yield from ("", "It has these parameters only:")
    own = [name for name, given in signature.items() if name not in common or given.default != common[name].default]
    yield from parameters(cls, own)
    methods = [name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")]
    methods = [name for name in methods if name not in ("fit", "set_params", "get_params")]
    if methods:
        yield ""
    for name in methods:
        function = getattr(cls, name)
        arguments = ", ".join(list(inspect.signature(function).parameters)[1:])
        yield f"- `{name}({arguments})`: {spec.first_sentence(function).replace('``', '`')}"
    if cited := papers(cls):
        yield from ("", f"Papers: {cited}.")


def page() -> str:
    """The whole page."""
    lines = [OPENING.rstrip()]
    for kind, entries in groupby(spec.catalogue(), key=lambda entry: entry.kind):
        lines += of_kind(kind, list(entries))
    lines += [
        "",
        "## Estimators",
        "",
        "Each has the common parameters, with other defaults where its table says so, unless its section says",
        "that it has its own only.",
    ]
    lines += ["", "### Common parameters", *parameters(Parameters)]
    for name in estimators.__all__:
        lines += of_estimator(getattr(estimators, name))
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
