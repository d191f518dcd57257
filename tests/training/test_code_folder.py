"""Compiled code has a folder of its own on disk; one that cannot be used is built anew."""

from __future__ import annotations

import os

import pytest
import torch

from isthmus.training import code_folder as module
from isthmus.training.code_folder import VARIABLE, code_folder, kept_in
from isthmus.training.compiled import compiled
from isthmus.training.graph import Recorder


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE_DIR", str(tmp_path))


def recorded(factor=2.0, n=8):
    x = torch.arange(float(n))
    with Recorder([x]) as recorder:
        y = (x * factor).exp()
    return recorder.graph([y]), [x]


def test_the_same_step_has_the_same_folder(tmp_path):
    found = code_folder(*recorded(), {"threads": 1})
    assert found == code_folder(*recorded(), {"threads": 1})
    assert found.parent == tmp_path / "steps"


@pytest.mark.parametrize(
    "other",
    [
        lambda: code_folder(*recorded(3.0), {"threads": 1}),
        lambda: code_folder(*recorded(n=9), {"threads": 1}),
        lambda: code_folder(*recorded(), {"threads": 2}),
        lambda: code_folder(recorded()[0], [torch.arange(16.0)[::2]], {"threads": 1}),
    ],
    ids=["graph", "shape", "setting", "stride"],
)
def test_all_that_the_code_depends_on_is_in_its_name(other):
    assert other() != code_folder(*recorded(), {"threads": 1})


@pytest.mark.parametrize("what", ["torch", "isthmus"])
def test_versions_are_in_its_name(what, monkeypatch):
    before = code_folder(*recorded(), {})
    monkeypatch.setattr(getattr(module, what), "__version__", "0.0.0")
    assert code_folder(*recorded(), {}) != before


def test_it_is_in_the_users_cache_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("ISTHMUS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert code_folder(*recorded(), {}).parent == tmp_path / "own" / "isthmus" / "steps"


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_the_variable_of_torch_comes_back(before, monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    with kept_in(str(tmp_path / "here")):
        assert os.environ[VARIABLE] == str(tmp_path / "here")
    assert os.environ.get(VARIABLE) == before


def test_code_that_nobody_used_for_a_month_is_removed_and_nothing_else(tmp_path):
    old, young, other = (tmp_path / name for name in ("0" * 32, "1" * 32, "notes"))
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "file").write_text("code")
    month = 31 * 24 * 3600
    for folder in (old, other):
        os.utime(folder, (folder.stat().st_atime - month, folder.stat().st_mtime - month))
    with kept_in(str(tmp_path / ("2" * 32))):
        assert sorted(folder.name for folder in tmp_path.iterdir()) == ["1" * 32, "2" * 32, "notes"]
    os.utime(young, (young.stat().st_atime - month, young.stat().st_mtime - month))
    with kept_in(str(young)):
        assert (young / "file").exists()


def broken_where_it_stands(module, inputs, **_):
    """A compiler that reads what was kept."""
    kept = os.path.join(os.environ[VARIABLE], "kept")
    if os.path.exists(kept):
        raise ImportError("file too short")
    with open(kept, "w") as file:
        file.write("code")
    return module.forward


def test_a_folder_that_cannot_be_used_is_built_anew(monkeypatch, caplog):
    monkeypatch.setattr(torch._inductor, "standalone_compile", broken_where_it_stands)
    graph, inputs = recorded()
    compiled(graph, inputs)
    assert caplog.text == ""
    (found,) = compiled(graph, inputs)(*inputs)
    assert torch.equal(found, (inputs[0] * 2).exp())
    assert "cannot be used and is built anew: file too short" in caplog.text


def test_a_step_that_cannot_be_compiled_is_tried_once(monkeypatch):
    tries = []

    def broken(*_, **__):
        tries.append(1)
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch._inductor, "standalone_compile", broken)
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler"):
        compiled(*recorded())
    assert len(tries) == 1


@pytest.mark.slow
def test_torn_code_is_built_anew(tmp_path):
    graph, inputs = recorded()
    expected = (inputs[0] * 2).exp()
    (found,) = compiled(graph, inputs)(*inputs)
    torch.testing.assert_close(found, expected)
    (folder,) = (tmp_path / "steps").iterdir()
    torn = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".so" for path in torn)
    for path in torn:
        path.unlink()  # a new file: the old one is mapped by this process
        path.write_bytes(b"torn")
    torch._dynamo.reset()
    (found,) = compiled(graph, inputs)(*inputs)
    torch.testing.assert_close(found, expected)
