"""Training prints nothing of TensorFlow's own: what a user sees is Litemill's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAINS = """
import numpy as np
from litemill.models.backend import make_deterministic, tf_keras
make_deterministic(0)
model = tf_keras().Sequential([tf_keras().layers.Input((4,)), tf_keras().layers.Dense(1)])
model.compile("adam", "mse")
model.fit(np.zeros((8, 4), np.float32), np.zeros((8, 1), np.float32), epochs=1, verbose=0)
"""


def test_a_training_under_make_prints_no_line_of_another_program(tmp_path: Path) -> None:
    """No GPU (`cuInit`), no absl, no node attributes: with the environment that `make` gives to what it runs."""
    (tmp_path / "trains.py").write_text(TRAINS)
    rule = f"trains: ; @{sys.executable} {tmp_path / 'trains.py'}"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        ["make", "--eval", rule, "trains"],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
