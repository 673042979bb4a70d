"""A run where HOME is not set and TMPDIR names a folder that is not there, as on a cluster or in a service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def litemill(folder: Path, model: Path, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a small config in a folder, with next to nothing in the environment."""
    config = {
        "name": "bare",
        "model": {"uri": str(model)},
        "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}, "limit": {"train": 256, "test": 100}},
        "recipes": {"int8": ["int8"]},
        "budget": {"max_accuracy_drop": 0.5},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "gone")}
    words = [sys.executable, "-m", "litemill", verb, "run.yaml", *options]
    return subprocess.run(words, cwd=folder, env=bare, capture_output=True, text=True, check=False)


def test_a_plan_needs_neither(digits_model: Path, tmp_path: Path) -> None:
    planned = litemill(tmp_path, digits_model.parent / "digits.keras", "plan")
    assert planned.returncode == 0, planned.stderr
    assert "int8" in planned.stdout


@pytest.mark.e2e
def test_a_run_needs_neither(digits_model: Path, tmp_path: Path) -> None:
    done = litemill(tmp_path, digits_model.parent / "digits.keras", "run", "--out", "found")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found/results.json").read_text())["winner"] == "int8"
    assert not (tmp_path / "gone").exists()
