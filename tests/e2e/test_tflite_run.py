"""A whole run that starts from a float `.tflite`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workshop import convert_here

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def test_a_tflite_is_evaluated_benchmarked_and_quantized(digits_model: Path, tmp_path: Path) -> None:
    shutil.copytree(digits_model, tmp_path / "model")
    convert_here(tmp_path / "model", "float32", [-1, 8, 8, 1], tmp_path / "digits.tflite")
    config = {
        "name": "from-tflite",
        "model": {"uri": "digits.tflite"},
        "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}},
        "recipes": {"float32": ["float32"], "int8": ["int8"], "weights": ["weights-int8"], "qat": ["qat", "int8"]},
        "training": {"epochs": 1},
        "budget": {"max_accuracy_drop": 0.5},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "litemill", "run", "run.yaml", "--out", "found"],
        cwd=tmp_path,
        env={**variables, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {item["recipe"]: item for item in json.loads((tmp_path / "found/results.json").read_text())["variants"]}
    assert found["qat"]["accuracy_drop"]["value"] < 0.1, "trained on the layers that were rebuilt"
    assert found["float32"]["accuracy_drop"]["value"] == 0
    for recipe in ("float32", "int8", "weights", "qat"):
        assert found[recipe]["measurements"]["host"]["latency_ms"]["p50"] > 0
    assert found["int8"]["size_bytes"] < found["float32"]["size_bytes"]
