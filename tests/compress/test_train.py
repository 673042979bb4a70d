"""Training in a process of its own: the same result, and a crash costs one recipe its model and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import MODEL
from litemill.compress.train import ONEDNN, train
from litemill.config.run import Augmentation, Training
from litemill.config.steps import parse_step
from litemill.errors import InputError
from litemill.evidence.sources import ModelManifest
from litemill.evidence.training import PruneFindings
from litemill.models.backend import tf_keras
from litemill.models.store import save_model
from tests.conftest import TRAINING
from tests.workshop import write_dataset

Step = Callable[[str], Path]

TASK = """
import json, sys
from pathlib import Path
from litemill.compress.train import train
from litemill.config.run import Training
from litemill.config.steps import parse_step

model, dataset, out, step, training = sys.argv[1:]
made = train(Path(model), Path(dataset), parse_step(json.loads(step)), out=Path(out),
             training=Training.model_validate_json(training))
print(json.dumps([made.status, made.reason, made.sha256, sorted({"tensorflow", "tf_keras"} & set(sys.modules))]))
"""


def arguments(model: Path, dataset: Path, out: Path, step: Any, training: Training) -> list[str]:
    return [
        sys.executable,
        "-c",
        TASK,
        str(model),
        str(dataset),
        str(out),
        json.dumps(step),
        training.model_dump_json(),
    ]


def test_a_process_of_its_own_trains_the_same_weights_and_the_task_itself_imports_no_tensorflow(
    step: Step, digits_dataset: Path, tmp_path: Path
) -> None:
    command = arguments(step(""), digits_dataset, tmp_path / "out", "prune", TRAINING)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    here = read_manifest(step("prune") / MODEL, ModelManifest)
    assert json.loads(done.stdout.splitlines()[-1]) == ["ok", "", here.sha256, []]
    assert "epoch 2/2: loss" in done.stderr
    made = read_manifest(tmp_path / "out" / MODEL, ModelManifest)
    assert made.steps[0].measured == here.steps[0].measured
    assert made.steps[0].warnings == []
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["model.json", "model.keras", "saved_model"]


@pytest.mark.e2e
def test_mini_xceptions_shortcut_is_trained_whether_or_not_it_crashes_onednn(tmp_path: Path) -> None:
    """The gradient of a 1×1 convolution with stride 2 on [64, 60, 60, 8]: on some processors it corrupts memory."""
    keras = tf_keras()
    layers = keras.layers
    image = layers.Input((60, 60, 1))
    wide = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    short = layers.Conv2D(16, 1, strides=2, padding="same", use_bias=False, name="shortcut")(wide)
    deep = layers.SeparableConv2D(16, 3, padding="same", use_bias=False, name="deep")(wide)
    deep = layers.MaxPooling2D(3, strides=2, padding="same")(deep)
    joined = layers.Conv2D(16, 3, activation="relu", name="late")(layers.add([deep, short]))
    scores = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(joined))
    save_model(keras.Model(image, scores), ModelManifest(origin="x", origin_sha256=""), tmp_path / "model")
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 256)
    x = random.random((256, 60, 60, 1)) * 0.3
    for row, label in enumerate(y):
        x[row, label // 2 * 30 : label // 2 * 30 + 30, label % 2 * 30 : label % 2 * 30 + 30] += 0.5
    write_dataset(tmp_path / "data", {"train": (x, y)}, 4)

    training = Training(epochs=4, batch_size=64, learning_rate=1e-3, validation=0.0)
    made = train(tmp_path / "model", tmp_path / "data", parse_step("prune"), out=tmp_path / "out", training=training)
    assert made.status == "ok", made.reason
    assert made.steps[0].found(PruneFindings).layers["late"].sparsity == pytest.approx(0.5, abs=0.01)
    assert all("crashed natively" in warning for warning in made.steps[0].warnings)


def end_training(command: list[str], by: signal.Signals) -> tuple[list[Any], str]:
    """Send the training process a signal after its second epoch; what the task says at its end, and its log."""
    task = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert task.stderr is not None
    log = ""
    while "epoch 2/40" not in log:
        line = task.stderr.readline()
        assert line, log
        log += line
    (worker,) = (Path("/proc") / str(task.pid) / "task" / str(task.pid) / "children").read_text().split()
    os.kill(int(worker), by)
    stdout, rest = task.communicate(timeout=300)
    return json.loads(stdout.splitlines()[-1]), log + rest


LONG = Training(epochs=40, batch_size=64, learning_rate=1e-3, augmentation=Augmentation(shift=1))


@pytest.mark.e2e
def test_a_training_that_crashes_natively_goes_on_from_its_last_epoch_without_onednn(
    step: Step, digits_dataset: Path, tmp_path: Path
) -> None:
    command = arguments(step(""), digits_dataset, tmp_path / "out", "finetune", LONG)
    (status, reason, *_), log = end_training(command, signal.SIGSEGV)
    assert (status, reason) == ("ok", "")
    assert "resumed after epoch" in log
    assert sum(line.startswith("litemill.compress.loop: epoch 1/40") for line in log.splitlines()) == 1
    (warning,) = read_manifest(tmp_path / "out" / MODEL, ModelManifest).steps[0].warnings
    assert warning.startswith("training crashed natively and went on after epoch ")
    assert f"of 40 with {ONEDNN}=0: the worker process was killed by SIGSEGV" in warning
    assert "Segmentation fault" in warning


@pytest.mark.e2e
def test_a_training_that_is_killed_for_its_memory_fails_its_recipe_with_the_reason(
    step: Step, digits_dataset: Path, tmp_path: Path
) -> None:
    """The kernel's way where memory runs out is SIGKILL."""
    command = arguments(step(""), digits_dataset, tmp_path / "out", "finetune", LONG)
    (status, reason, *_), _ = end_training(command, signal.SIGKILL)
    assert status == "failed"
    assert reason.startswith("finetune: the worker process was killed by SIGKILL (as the kernel does where memory")
    assert "epoch" in reason
    assert [item.name for item in (tmp_path / "out").iterdir()] == [MODEL]


@pytest.mark.e2e
def test_what_is_the_datas_fault_is_an_input_error_and_leaves_no_artifact(tmp_path: Path) -> None:
    keras = tf_keras()
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(3)])
    save_model(model, ModelManifest(origin="x", origin_sha256=""), tmp_path / "model")
    x, y = np.random.default_rng(0).random((64, 6)), np.arange(64) % 3
    write_dataset(tmp_path / "data", {"train": (x, y)}, 3)
    training = Training(epochs=1, batch_size=16, augmentation=Augmentation(shift=1))
    with pytest.raises(InputError, match="augmentation is for images"):
        train(tmp_path / "model", tmp_path / "data", parse_step("finetune"), out=tmp_path / "out", training=training)
    assert not (tmp_path / "out").exists()
