"""A checkpoint is whole or is not read."""

import errno
import math
import subprocess

import pytest
import safetensors.torch
import torch

from isthmus.errors import CheckpointError, ParameterError
from isthmus.training import checkpoint_files
from isthmus.training.checkpoint_files import newest, write

STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor(True), "none": torch.empty(0)},
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
    "list": [torch.tensor(2, dtype=torch.int64), None, "text", 0.1, [True]],
    "lowest": -math.inf,
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def head(step):
    return {"step": step}


def test_a_tree_comes_back_as_it_was(tmp_path):
    write(tmp_path, head(3), STATE)
    saved = newest(tmp_path)
    assert saved.head == {"step": 3}
    assert same(saved.state, STATE)


def test_a_tree_is_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "AT_ONCE", 7)
    path = write(tmp_path, head(3), STATE)
    assert same(newest(tmp_path).state, STATE)
    assert set(safetensors.torch.load_file(path)) == {str(number) for number in range(5)}  # as others read it


def test_the_last_two_are_kept_and_nothing_else(tmp_path):
    for step in (1, 2, 10, 100_000_000):
        write(tmp_path, head(step), STATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.safetensors",
        "step-100000000.safetensors",
    ]
    assert newest(tmp_path).head["step"] == 100_000_000


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_weight(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def change_the_head(path):
    path.write_bytes(path.read_bytes().replace(b"lowest", b"lowesT"))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, flip_a_weight, change_the_head, empty])
def test_a_torn_one_is_passed_over_with_a_warning(tmp_path, caplog, harm):
    write(tmp_path, head(1), STATE)
    harm(write(tmp_path, head(2), STATE))
    assert newest(tmp_path).head["step"] == 1
    assert "step-00000002.safetensors is not whole and is passed over" in caplog.text


def test_where_none_is_whole_nothing_starts_afresh_in_silence(tmp_path):
    cut(write(tmp_path, head(1), STATE))
    with pytest.raises(CheckpointError, match=r"none of \['step-00000001.safetensors'\] is whole; name another folder"):
        newest(tmp_path)


def test_an_empty_folder_has_none(tmp_path):
    assert newest(tmp_path) is None


def test_another_format_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "FORMAT", 2)
    write(tmp_path, head(1), STATE)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2, this version of isthmus reads 1"):
        newest(tmp_path)


def test_a_full_disk_leaves_the_earlier_ones(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "isthmus", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.decode().strip()}")
    try:
        write(disk, head(1), STATE)
        with pytest.raises(OSError, match="No space left") as error:
            write(disk, head(2), {"large": torch.zeros(100_000)})
        assert error.value.errno == errno.ENOSPC
        assert newest(disk).head["step"] == 1
        assert [path.name for path in disk.iterdir()] == ["step-00000001.safetensors"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_what_is_no_data_is_named(tmp_path):
    for value in ({1}, b"bytes", {(1, 2): 3}):
        with pytest.raises(
            ParameterError, match=r"callbacks: state_dict must hold tensors, .* got a (set|bytes|tuple)"
        ):
            write(tmp_path, head(1), {"callbacks": [value]})
    assert list(tmp_path.iterdir()) == []
