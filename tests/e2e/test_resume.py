"""kill -9 in the middle of a train-aware task, then the same command again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import MODEL
from litemill.evidence.sources import ModelManifest

pytestmark = pytest.mark.e2e

TASK = """
import sys
from pathlib import Path
from litemill.compress.train import train
from litemill.config.run import Augmentation, Training
from litemill.config.steps import Step

model, dataset, out = map(Path, sys.argv[1:])
training = Training(epochs=40, batch_size=64, learning_rate=2e-3, augmentation=Augmentation(shift=1))
train(model, dataset, Step(name="prune"), out=out, training=training)
"""


def start(model: Path, dataset: Path, out: Path, checkpoints: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LITEMILL_CHECKPOINTS": str(checkpoints)}
    return subprocess.Popen([sys.executable, "-c", TASK, model, dataset, out], env=environment)


def test_a_killed_task_resumes_and_ends_as_if_nothing_had_happened(
    digits_model: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    whole = start(digits_model, digits_dataset, tmp_path / "whole", tmp_path / "unused")
    assert whole.wait(timeout=300) == 0

    checkpoints, out = tmp_path / "checkpoints", tmp_path / "resumed"
    killed = start(digits_model, digits_dataset, out, checkpoints)
    limit = time.monotonic() + 300
    while not list(checkpoints.rglob("epoch-0000[3-9].npz")):
        assert killed.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not out.exists()
    (kept,) = checkpoints.rglob("epoch-*.npz")
    assert int(kept.stem.removeprefix("epoch-")) < 40

    assert start(digits_model, digits_dataset, out, checkpoints).wait(timeout=300) == 0
    found = [read_manifest(folder / MODEL, ModelManifest) for folder in (tmp_path / "whole", out)]
    assert found[0].sha256 == found[1].sha256
    assert found[0].steps[0].measured == found[1].steps[0].measured
    assert not list(checkpoints.rglob("*.npz"))
