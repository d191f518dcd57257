"""One process at a time writes into a folder."""

import errno
import os
import subprocess

import pytest

from isthmus.errors import CheckpointError
from isthmus.training.folder_lock import locked


def test_a_read_only_disk_is_named_before_training(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "isthmus", disk]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.decode().strip()}")
    try:
        with locked(disk):
            (disk / "file").write_text("x")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        message = r"checkpoint_dir must be a folder that can be written, got '.*disk' \(Read-only file system\)"
        with pytest.raises(CheckpointError, match=message):
            locked(disk).__enter__()
        assert (disk / "file").read_text() == "x"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_takes_no_file_is_named_before_training(tmp_path, monkeypatch):
    with locked(tmp_path):
        pass  # the lock is there, and may be opened

    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.touch", refused)
    with pytest.raises(CheckpointError, match=r"must be a folder that can be written, got '.*' \(Permission denied\)"):
        locked(tmp_path).__enter__()


def test_what_a_dead_writer_left_is_cleared(tmp_path):
    (tmp_path / "step-00000007.part").write_bytes(b"half")
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_folder_is_held_once(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(CheckpointError, match="is held by another run: name another"):
        locked(tmp_path / "run").__enter__()
    with locked(tmp_path / "run"):
        pass


def test_what_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="checkpoint_dir must be a folder that can be written, got"):
        locked(tmp_path / "file").__enter__()
