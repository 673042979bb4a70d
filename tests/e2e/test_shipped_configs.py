"""The configs in `pipelines/` run as they are, on the models and data that `examples/` makes for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from litemill.config.load import load_config

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SHORT = """
import runpy, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from litemill.data.splits import Splits
from litemill.data.prepare import prepare_data
from litemill.models.store import write_keras
made = runpy.run_path(sys.argv[1])
with TemporaryDirectory() as folder:
    prepare_data(made["DATA"].model_copy(update={"uri": sys.argv[2]}), made["SEED"], Path(folder) / "data")
    write_keras(made["train"](Splits.open(Path(folder) / "data"), epochs=1), Path(sys.argv[3]))
"""
"""The example's own training, for one epoch in place of eight."""


def python(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run this Python with this checkout."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


def digits(folder: Path) -> None:
    """The model of examples/digits."""
    made = python(ROOT / "examples/digits/train.py", "examples/digits/model.keras", cwd=folder)
    assert made.returncode == 0, made.stderr


def fashion_mnist(folder: Path) -> None:
    """The data of examples/fashion_mnist, and its model."""
    examples, place = ROOT / "examples/fashion_mnist", "examples/fashion_mnist/data.npz"
    made = python(examples / "data.py", place, cwd=folder)
    assert made.returncode == 0, made.stderr
    made = python("-c", SHORT, examples / "train.py", place, "examples/fashion_mnist/model.keras", cwd=folder)
    assert made.returncode == 0, made.stderr


MAKERS: dict[str, Callable[[Path], None]] = {"digits": digits, "fashion_mnist": fashion_mnist}


@pytest.mark.parametrize("name", sorted(folder.parent.name for folder in ROOT.glob("pipelines/*/config.yaml")))
def test_a_shipped_config_runs_as_it_is(name: str, tmp_path: Path) -> None:
    """Every recipe gives a file, measured on every target; one of them is delivered."""
    config = ROOT / "pipelines" / name / "config.yaml"
    (tmp_path / "examples" / name).mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(config.read_text())
    MAKERS[name](tmp_path)

    done = python("-m", "litemill", "run", "config.yaml", "--out", "out", cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    spec = load_config(config)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert {one["recipe"] for one in results["variants"]} == set(spec.recipes)
    for variant in results["variants"]:
        assert variant["status"] == "ok", variant["reason"]
        assert set(variant["measurements"]) == {target.name for target in spec.targets}
    assert list((tmp_path / "out").rglob("*.tflite"))
