"""The short form of the benchmark: runs killed at random moments end on the bits of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kills.py"


def test_runs_that_are_killed_lose_nothing(tmp_path):
    command = [sys.executable, SCRIPT, "--runs", "3", "--epochs", "20", "--out", tmp_path / "kills.json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["bit_identical"] == found["runs"] == 3
    assert found["kills"] >= 3
    assert found["steps_taken"] <= found["steps_allowed"]
    assert found["runs_with_more_steps_than_allowed"] == 0
