"""A train-aware step in this process: from the artifacts that come in to the artifact that goes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import MODEL
from litemill.compress import cluster, finetune, prune, qat
from litemill.compress.batches import Batches
from litemill.compress.checkpoint import Checkpoints
from litemill.compress.loop import Task, resumable_randomness
from litemill.compress.objective import criterion_of, objective
from litemill.compress.work import Done, Work
from litemill.config.run import Training
from litemill.config.steps import Step
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest, RebuildReport, StepRecord
from litemill.models.backend import make_deterministic, tf_keras
from litemill.models.store import load_model, save_model

TRANSFORMS: Mapping[str, Callable[[Work, Any], Done]] = {
    "prune": prune.prune,
    "cluster": cluster.cluster,
    "qat": qat.qat,
    "finetune": finetune.finetune,
}
"""What each step does to a model, given its options."""


class TrainJob(BaseModel):
    """A step to take, as it travels to the process that takes it.

    Attributes:
        name: Of the job.
        step: With its options.
        training: The run's training section, with this step's overrides.
        model: Model artifact to start from.
        teacher: Model artifact of the distillation's teacher.
        dataset: Dataset artifact; its train split is used.
        checkpoints: Folder of the checkpoints of just this training.
        out: Where the Model artifact goes.
    """

    name: str
    step: Step
    training: Training
    model: Path
    teacher: Path
    dataset: Path
    checkpoints: Path
    out: Path


def take_step(job: TrainJob) -> ModelManifest:
    """Train, and write the Model artifact.

    Raises:
        StepFailed: The step cannot work on this model, or did not do what it was asked.
        InputError: An artifact is missing or cannot be read.
    """
    started = time.monotonic()
    before = read_manifest(job.model / MODEL, ModelManifest)
    splits = Splits.open(job.dataset)
    done = TRANSFORMS[job.step.name](_prepare(job, before, splits), job.step.parsed())
    others = [info.name for info in before.outputs if info.name not in before.judged_names]
    unjudged = [f"outputs {', '.join(others)} are not trained for: check what they give"] if others else []
    record = record_of(job.step)
    record.measured, record.warnings = done.findings.stored(), [*done.warnings, *unjudged]
    if before.rebuilt is not None and not before.steps:
        record.measured["restored_batch_norm"] = before.rebuilt.batch_norm
        record.warnings.append(_started_from(before.rebuilt))
    record.seconds = round(time.monotonic() - started, 3)
    data_sha256 = splits.manifest.splits["train"].x_sha256
    manifest = before.model_copy(update={"steps": [*before.steps, record], "data_sha256": data_sha256})
    return save_model(done.model, manifest, job.out)


def _started_from(rebuilt: RebuildReport) -> str:
    """What the first step on a rebuilt `.tflite` trains."""
    count = len(rebuilt.batch_norm)
    norms = f"with BatchNormalization put back in {count} places" if count else "without BatchNormalization put back"
    return f"trains the layers that were rebuilt from the .tflite, {norms}"


def record_of(step: Step) -> StepRecord:
    """The record of a step that is about to be taken: the options that were asked for, defaults left out."""
    return StepRecord(step=step.name, options=step.parsed().model_dump(mode="json", exclude_unset=True))


def _prepare(job: TrainJob, before: ModelManifest, splits: Splits) -> Work:
    """Seed everything and load what is trained."""
    training = job.training
    make_deterministic(training.seed)
    resumable_randomness()
    tf_keras().backend.reset_uids()  # names of new layers count from 1, whatever this process made before
    student = load_model(job.model)
    data = splits.manifest
    criterion = criterion_of(student, data.task, before.positions, data.reading(before.output_is))
    teacher = load_model(job.teacher) if training.distillation.weight or criterion.kind.of_teacher else None
    loss = objective(criterion, training.distillation, teacher)
    batches = Batches(splits.train.x, splits.train.y, training)
    task = Task(batches, training, loss, criterion)
    return Work(student, batches, training, before.steps, task, Checkpoints(job.checkpoints))
