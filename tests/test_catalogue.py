"""The list of all parts that the command line prints and docs/parts.md is made from."""

import inspect

import pytest

from isthmus import spec
from isthmus.part import Part


def test_holds_every_part_once():
    names = [(entry.kind, entry.name) for entry in spec.catalogue()]
    assert len(names) == len(set(names))
    assert set(names) == {(kind, name) for kind in {kind for kind, _ in names} for name in spec.registry(kind)}


def test_kinds_come_in_the_order_of_the_line():
    kinds = list(dict.fromkeys(entry.kind for entry in spec.catalogue()))
    assert kinds == [*spec.FAMILIES, "optimizer", "schedule"]


@pytest.mark.parametrize("entry", spec.catalogue(), ids=lambda entry: entry.cls.__name__)
def test_every_entry_says_what_it_is(entry):
    assert entry.summary.endswith("."), f"{entry.cls.__name__}: the docstring opens with no sentence"
    assert "\n" not in entry.summary
    assert entry.formula or not issubclass(entry.cls, Part), f"{entry.cls.__name__} states no formula"


@pytest.mark.parametrize("entry", spec.catalogue(), ids=lambda entry: entry.cls.__name__)
def test_every_name_resolves_to_its_class(entry):
    assert type(spec.resolve(entry.kind, entry.name)) is entry.cls


@pytest.mark.parametrize("entry", spec.catalogue(), ids=lambda entry: entry.cls.__name__)
def test_every_parameter_has_a_default(entry):
    for parameter in inspect.signature(entry.cls).parameters.values():
        assert parameter.default is not inspect.Parameter.empty, f"{entry.name} cannot be given as a name"


def test_first_sentence_reads_past_et_al():
    class Cited:
        """Drops units (Srivastava et al. 2014). The rest
        is scaled."""

    class Abbreviated:
        """After Burda et al. A bound."""

    assert spec.first_sentence(Cited) == "Drops units (Srivastava et al. 2014)."
    assert spec.first_sentence(Abbreviated) == "After Burda et al. A bound."
