"""The worked example of CONTRIBUTING.md: its diff is applied to a copy of the tree and put under test there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"<!-- worked example: begin -->\n```diff\n(.*?)```\n<!-- worked example: end -->", re.DOTALL)


def example() -> str:
    """The diff as the page shows it."""
    (diff,) = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    return diff


@pytest.fixture
def changed(tmp_path):
    """A copy of the tree with the diff applied."""
    if shutil.which("git") is None:
        pytest.skip("git, which applies the diff, is not installed")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    run(["git", "apply", "-"], tmp_path, environment, example())
    return tmp_path


def run(command, folder, environment, given=None):
    done = subprocess.run(command, cwd=folder, env=environment, input=given, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_touches_one_file_one_line_one_test():
    files = re.split(r"(?m)^--- ", example())[1:]
    new = [re.search(r"(?m)^\+\+\+ b/(.+)$", file)[1] for file in files if file.startswith("/dev/null")]
    (old,) = [file for file in files if not file.startswith("/dev/null")]
    assert len(new) == 2
    assert [path.split("/")[0] for path in new] == ["src", "tests"]
    changes = [line for line in old.splitlines()[2:] if line.startswith(("+", "-"))]
    assert len(changes) == 1
    assert changes[0].startswith("+from isthmus.")


def test_the_new_part_passes_its_test_and_the_contract(changed):
    environment = {**os.environ, "PYTHONPATH": str(changed / "src")}
    python = [sys.executable, "-c"]
    home = run([*python, "import isthmus; print(isthmus.__file__)"], changed, environment)
    assert Path(home.strip()).is_relative_to(changed)
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"]
    run([*pytest_, "tests/penalties/test_group_lasso.py"], changed, environment)
    said = run(
        [*pytest_, "tests/test_contract.py", "tests/test_catalogue.py", "-k", "GroupLasso"], changed, environment
    )
    assert int(re.search(r"(\d+) passed", said)[1]) >= 6


def test_the_new_part_is_formatted_and_linted(changed):
    ruff = [sys.executable, "-m", "ruff"]
    new = ["src/isthmus/penalties/group_lasso.py", "tests/penalties/test_group_lasso.py"]
    run([*ruff, "check", "--no-cache", *new, "src/isthmus/penalties/__init__.py"], changed, os.environ)
    run([*ruff, "format", "--no-cache", "--check", *new], changed, os.environ)
