"""What earlier versions saved still loads, and gives what it gave."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.persistence import estimators
from isthmus.persistence.layout import FORMAT

HERE = Path(__file__).parent / "fixtures"
FOLDERS = sorted(path for path in HERE.glob("format_*/*") if path.is_dir())


def made():
    description = importlib.util.spec_from_file_location("fixtures", HERE / "make.py")
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module.MODELS


def test_there_is_a_fixture_of_every_format():
    kept = {path.parent.name for path in FOLDERS}
    assert {f"format_{number}" for number in range(1, FORMAT + 1)} <= kept
    assert "format_1_first" in kept
    assert {path.name for path in FOLDERS if path.parent.name == f"format_{FORMAT}"} == set(made())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}, {path.name}")
def test_a_saved_model_loads_and_gives_what_it_gave(folder):
    _, method, asked = made()[folder.name]
    model = isthmus.load(folder)
    assert type(model).__name__ in estimators()
    found = np.asarray(getattr(model, method)(asked))
    wanted = np.load(folder.parent / "given.npz")[folder.name]
    if wanted.dtype.kind in "OU":
        assert found.tolist() == wanted.tolist()
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
