"""What all train-aware steps share: from the artifacts that come in to the artifact that goes out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litemill.artifacts.files import read_manifest, staged, write_manifest
from litemill.artifacts.layout import MODEL
from litemill.compress import checkpoint
from litemill.compress.batches import Batches
from litemill.compress.loop import Task, fine_tune, resumable_randomness
from litemill.compress.objective import criterion_of, objective
from litemill.config.run import Training
from litemill.config.steps import TrainOptions
from litemill.data import Splits
from litemill.errors import StepFailed
from litemill.evidence import ModelManifest, StepRecord
from litemill.models import load_model, save_model
from litemill.models.backend import make_deterministic, tf_keras

log = logging.getLogger(__name__)


@dataclass
class Work:
    """A step at work.

    Attributes:
        model: The float model that came in.
        batches: The train split.
        training: The user's options, with this step's overrides.
        earlier: The steps done so far.
    """

    model: Any
    batches: Batches
    training: Training
    earlier: list[StepRecord]
    _task: Task
    _checkpoints: checkpoint.Checkpoints

    @property
    def steps(self) -> int:
        """Training steps that will run."""
        return self._task.steps

    def did(self, step: str) -> StepRecord | None:
        """The record of an earlier step, if it was done."""
        return next((record for record in self.earlier if record.step == step), None)

    def fine_tune(self, model: Any, *, callbacks: Sequence[Any] = (), settled: float = 0.0) -> dict[str, Any]:
        """Train `model` in place and say how it went."""
        pruned = self.did("prune") is not None
        epochs = fine_tune(
            model, self._task, self._checkpoints, callbacks=callbacks, settled=settled, keep_zeros=pruned
        )
        last = {name: round(value, 6) for name, value in epochs[-1].items()}
        return {"epochs": len(epochs), "steps": len(epochs) * self.batches.steps, **last}


@dataclass
class Done:
    """What a step made: the model, what its weights and its training show, and what the user should know."""

    model: Any
    measured: dict[str, Any]
    warnings: list[str]


def run_step(
    name: str,
    model: Path,
    dataset: Path,
    options: TrainOptions,
    training: Training,
    out: Path,
    source: Path | None,
    transform: Callable[[Work], Done],
) -> ModelManifest:
    """Run a train-aware step on artifacts.

    A step that cannot work or did not do what it was asked leaves an artifact with status failed and the reason, as
    does one whose model came in failed: later steps pass it on.

    Args:
        name: Of the step.
        model: Model artifact to start from.
        dataset: Dataset artifact; its train split is used.
        options: Of the step.
        training: The run's training section.
        out: Where the Model artifact goes.
        source: Model artifact of the distillation's teacher; `model` where it is None.
        transform: Does the work.

    Raises:
        InputError: An artifact is missing or cannot be read.
    """
    started = time.monotonic()
    before = read_manifest(model / MODEL, ModelManifest)
    record = StepRecord(step=name, options=options.model_dump(mode="json", exclude_unset=True))
    if before.status == "failed":
        return _write_failed(before, record, before.reason, out)
    training = _with_overrides(training, options)
    teacher = source or model
    splits = Splits.open(dataset)
    checkpoints = _checkpoints(name, options, training, before, teacher, splits)
    try:
        done = transform(_prepare(model, teacher, before, splits, training, checkpoints))
    except StepFailed as error:
        log.warning("%s failed: %s", name, error)
        checkpoints.clear()
        return _write_failed(before, record, f"{name}: {error}", out)
    others = [info.name for info in before.outputs if info.name != before.judged] if before.judged else []
    unjudged = [f"outputs {', '.join(others)} are not trained for: check what they give"] if others else []
    record.measured, record.warnings = done.measured, [*done.warnings, *unjudged]
    record.seconds = round(time.monotonic() - started, 3)
    data_sha256 = splits.manifest.splits["train"].x_sha256
    manifest = before.model_copy(update={"steps": [*before.steps, record], "data_sha256": data_sha256})
    saved = save_model(done.model, manifest, out)
    checkpoints.clear()
    return saved


def _checkpoints(
    name: str, options: TrainOptions, training: Training, before: ModelManifest, teacher: Path, splits: Splits
) -> checkpoint.Checkpoints:
    """The checkpoints of just this training: all that decides its result is in their folder's name."""
    train = splits.manifest.splits["train"]
    key = checkpoint.key(
        step=name,
        options=options.model_dump(mode="json"),
        training=training.model_dump(mode="json"),
        model=before.sha256,
        steps=[record.model_dump(mode="json", exclude={"seconds"}) for record in before.steps],
        teacher=read_manifest(teacher / MODEL, ModelManifest).sha256 if training.distillation.weight else "",
        data=[splits.manifest.task, train.x_sha256, train.y_sha256],
    )
    return checkpoint.Checkpoints(checkpoint.root() / key)


def _prepare(
    model: Path,
    teacher: Path,
    before: ModelManifest,
    splits: Splits,
    training: Training,
    checkpoints: checkpoint.Checkpoints,
) -> Work:
    """Seed everything and load what is trained."""
    make_deterministic(training.seed)
    resumable_randomness()
    tf_keras().backend.reset_uids()  # names of new layers count from 1, whatever this process made before
    student = load_model(model)
    data = splits.manifest
    criterion = criterion_of(student, data.task, before.output, data.reading(before.output_is))
    loss = objective(criterion, training.distillation, load_model(teacher) if training.distillation.weight else None)
    batches = Batches(splits.train.x, splits.train.y, training)
    return Work(student, batches, training, before.steps, Task(batches, training, loss, criterion), checkpoints)


def _with_overrides(training: Training, options: TrainOptions) -> Training:
    """The training section with what a step says for itself."""
    own = {"epochs": options.epochs, "learning_rate": options.learning_rate}
    return training.model_copy(update={key: value for key, value in own.items() if value is not None})


def _write_failed(before: ModelManifest, record: StepRecord, reason: str, out: Path) -> ModelManifest:
    """Leave an artifact that says why there is no model."""
    failed = ModelManifest(
        status="failed",
        reason=reason,
        origin=before.origin,
        origin_sha256=before.origin_sha256,
        data_sha256=before.data_sha256,
        steps=[*before.steps, record],
    )
    with staged(out) as folder:
        write_manifest(folder / MODEL, failed)
    return failed
