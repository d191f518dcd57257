"""The public surface: what `isthmus` offers, what it says of it, and what importing it costs."""

import doctest
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import isthmus
import isthmus.estimators

# The public names of the design; a part or an estimator may join them, none may go.
DESIGNED = {
    "estimators": ["Autoencoder", "DenoisingAutoencoder", "SparseAutoencoder", "ContractiveAutoencoder"],
    "generative": ["VariationalAutoencoder"],
    "encoders": ["MLPEncoder"],
    "decoders": ["MLPDecoder"],
    "bottlenecks": ["Dense", "Gaussian", "Identity"],
    "corruptions": ["GaussianNoise", "Masking", "SaltAndPepper"],
    "losses": ["AbsoluteError", "BinaryCrossEntropy", "GaussianNLL", "PoissonNLL", "SquaredError"],
    "losses of labels": ["CrossEntropy", "Dice", "Focal", "SumLoss", "Tversky"],
    "penalties": ["Contractive", "KLPrior", "KLSparsity", "L1Activity", "L1Weights", "L2Weights"],
    "optimizers": ["Adam", "AdamW", "LBFGS", "SGD"],
    "line": ["EncoderDecoder", "ImportanceWeighted", "Objective", "TrainStep"],
    "records": ["Batch", "Bypass", "Features", "Latent", "Seen", "Space", "Trace"],
}
HEAVY = ["sklearn", "scipy", "matplotlib", "pandas", "polars", "pyarrow", "typer", "rich", "skimage", "lightning"]
MODULES = [name for _, name, _ in pkgutil.walk_packages(isthmus.__path__, "isthmus.") if not name.endswith("__main__")]


@pytest.mark.parametrize("kind", DESIGNED)
def test_names_of_the_design_are_there(kind):
    assert not set(DESIGNED[kind]) - set(isthmus.__all__)


def test_all_is_sorted_and_names_each_once():
    assert isthmus.__all__ == sorted(set(isthmus.__all__))
    assert dir(isthmus) == isthmus.__all__


@pytest.mark.parametrize("name", isthmus.__all__)
def test_every_public_name_loads_and_is_documented(name):
    found = getattr(isthmus, name)
    assert name == "__version__" or (inspect.getdoc(found) or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name in isthmus.__all__ if isinstance(getattr(isthmus, name), type)])
def test_every_public_method_is_documented(name):
    cls = getattr(isthmus, name)
    bare = [
        method
        for method, function in vars(cls).items()
        if inspect.isfunction(function) and not method.startswith("_") and not inspect.getdoc(getattr(cls, method))
    ]
    # An override of an abstract `forward` is described by the class; nn.Module's own docstring is none of ours.
    assert not set(bare) - {"forward"}, f"{name}: no docstring on {bare}"


def test_an_unknown_name_is_named():
    with pytest.raises(AttributeError, match="has no attribute 'Autoencodr'"):
        isthmus.Autoencodr  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_a_module_exports_its_own_names_only(name):
    """`__all__` is sorted, every name exists, and it was defined here (a folder's `__init__` gathers its files)."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    for exported in names:
        home = getattr(getattr(module, exported), "__module__", None)
        if isinstance(getattr(module, exported), type):
            assert home is not None
            assert home.startswith(name), f"{name}.{exported} comes from {home}"


def test_importing_loads_nothing_heavy():
    code = "import isthmus, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(done.stdout))


def test_parts_and_types_load_without_scikit_learn():
    code = (
        "import isthmus, sys; isthmus.MLPEncoder().get_params(); isthmus.KLPrior(); isthmus.Trace; isthmus.Objective;"
        "print(sorted({'sklearn', 'scipy', 'matplotlib', 'pandas', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    failed = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed.failed == 0


@pytest.mark.parametrize("name", isthmus.estimators.__all__)
def test_every_estimator_shows_an_example(name):
    cls = getattr(isthmus.estimators, name)
    assert ">>> " in (cls.__doc__ or ""), f"{name} shows no example"
