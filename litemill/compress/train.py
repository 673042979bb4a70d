"""`train`: a train-aware step on artifacts, in a process of its own. This process imports no TensorFlow.

Training crashes natively on real models (oneDNN's gradient of a 1×1 convolution with stride 2 corrupts memory), and
runs out of memory. Both cost this one step its model, and the run nothing else.
"""

from __future__ import annotations

import builtins
import logging
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from litemill.artifacts.files import read_manifest, staged, write_manifest
from litemill.artifacts.layout import MODEL
from litemill.compress import checkpoint
from litemill.compress.checkpoint import Checkpoints
from litemill.compress.losses import LOSSES
from litemill.compress.step import TrainJob, record_of, take_step
from litemill.config.run import Training
from litemill.config.steps import Step, TrainOptions
from litemill.data.splits import Splits
from litemill.errors import ConfigError, InputError, LitemillError, StepFailed
from litemill.evidence.sources import ModelManifest
from litemill.process.isolation import DIED, Outcome, run_isolated
from litemill.tasks import task_of

log = logging.getLogger(__name__)

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""TensorFlow's variable that switches oneDNN off with 0: slower, and without the crash."""
MADE = "made"
"""Where in the staged folder the worker leaves its artifact: what it leaves half written is not delivered."""


class Attempt(NamedTuple):
    """How a training ended: the reason it failed, or nothing, what happened on the way, and if it may be tried again.

    `passes` is true where memory ran out: that says nothing of the step.
    """

    reason: str
    warnings: list[str]
    passes: bool = False


def train(
    model: Path,
    dataset: Path,
    step: Step,
    *,
    out: Path,
    training: Training,
    source: Path | None = None,
    isolated: bool = True,
) -> ModelManifest:
    """Take a train-aware step: `prune`, `cluster`, `qat` or `finetune`.

    A step that cannot work, did not do what it was asked, crashed or ran out of memory leaves an artifact with status
    failed and the reason, as does one whose model came in failed: later steps pass it on. After a native crash it goes
    on from its last epoch without oneDNN, and its record says so. A training that was killed resumes when it is
    started again with the same inputs.

    Args:
        model: Model artifact to start from.
        dataset: Dataset artifact; its train split is used.
        step: A train-aware one.
        out: Folder for the Model artifact; new or empty.
        training: The run's training section.
        source: Model artifact of the distillation's teacher; `model` where it is None.
        isolated: Whether it trains in a process of its own; without, a debugger reaches it and a crash ends this one.

    Returns:
        The manifest; its last step record says what was asked, and what the weights and the training show.

    Raises:
        ConfigError: The step converts a model instead.
        InputError: An artifact is missing or cannot be read, or the data does not fit the training.
        LitemillError: The machine failed: a full disk, a broken installation, a stop from outside.
    """
    started = time.monotonic()
    if step.is_scheme:
        raise ConfigError(f"{step.name!r} converts a model and trains nothing", where="step")
    before = read_manifest(model / MODEL, ModelManifest)
    with staged(out) as folder:
        if before.status == "failed":
            return _write_failed(before, step, before.reason, folder, passes=before.passes)
        job = _job(model, dataset, step, training, source or model, before, folder)
        attempt = _attempt(job) if isolated else _attempt_here(job)
        Checkpoints(job.checkpoints).clear()
        if attempt.reason:
            log.warning("%s failed: %s", step.name, attempt.reason)
            return _write_failed(before, step, f"{step.name}: {attempt.reason}", folder, passes=attempt.passes)
        return _deliver(job.out, attempt.warnings, time.monotonic() - started, folder)


def _job(
    model: Path, dataset: Path, step: Step, training: Training, teacher: Path, before: ModelManifest, folder: Path
) -> TrainJob:
    """What the training process is given; the checkpoints' folder is named by all that decides the result."""
    options = step.parsed()
    training = _with_overrides(training, options) if isinstance(options, TrainOptions) else training
    splits = Splits.open(dataset)
    info = splits.manifest.splits["train"]
    taught = training.distillation.weight or LOSSES[task_of(splits.manifest.task).loss].of_teacher
    key = checkpoint.key(
        step=step.name,
        options=options.model_dump(mode="json"),
        training=training.model_dump(mode="json"),
        model=before.rebuilt.sha256 if before.rebuilt and not before.steps else before.sha256,
        steps=[record.model_dump(mode="json", exclude={"seconds"}) for record in before.steps],
        teacher=read_manifest(teacher / MODEL, ModelManifest).sha256 if taught else "",
        data=[splits.manifest.task, info.x_sha256, info.y_sha256],
    )
    return TrainJob(
        name=step.name,
        step=step,
        training=training,
        model=model.absolute(),
        teacher=teacher.absolute(),
        dataset=dataset.absolute(),
        checkpoints=checkpoint.root().absolute() / key,
        out=(folder / MADE).absolute(),
    )


def _with_overrides(training: Training, options: TrainOptions) -> Training:
    """The training section with what a step says for itself."""
    own = {"epochs": options.epochs, "learning_rate": options.learning_rate}
    return training.model_copy(update={key: value for key, value in own.items() if value is not None})


def _attempt(job: TrainJob) -> Attempt:
    """Train in a process of its own; once more without oneDNN where native code crashed."""
    outcome = _run(job, {})
    if not outcome.crashed or os.environ.get(ONEDNN) == "0":
        return Attempt(_reason(outcome), [], outcome.passes)
    epoch = Checkpoints(job.checkpoints).epoch
    after = f"after epoch {epoch} of {job.training.epochs}" if epoch else "from the beginning"
    log.warning("training crashed natively: it goes on %s with %s=0", after, ONEDNN)
    again = _run(job, {ONEDNN: "0"})
    if again.reason:
        reason = _reason(again)
        whole = f"{reason}; it crashed with oneDNN too: {outcome.reason}" if again.crashed else reason
        return Attempt(whole, [], again.passes)
    return Attempt("", [f"training crashed natively and went on {after} with {ONEDNN}=0: {outcome.reason}"])


def _run(job: TrainJob, environment: dict[str, str]) -> Outcome:
    """One run of the training process."""
    plain = job.model_dump(mode="json")
    outcomes = run_isolated(worker_module(), [plain], time_limit=None, environment=environment, relay=True)
    return outcomes[job.name]


def worker_module() -> str:
    """Name of the module that trains. Imported late, and imported at all so that cache keys know its code."""
    from litemill.compress import worker

    return worker.__name__


def _reason(outcome: Outcome) -> str:
    """Why the step failed, or nothing.

    Raises:
        InputError: The data or an artifact is at fault, not the step.
        LitemillError: The machine is.
    """
    if outcome.cause in (InputError.__name__, ConfigError.__name__):
        raise InputError(outcome.reason)
    kind = getattr(builtins, outcome.cause, None)
    machine = isinstance(kind, type) and issubclass(kind, OSError | ImportError)
    stopped = outcome.cause == DIED and not (outcome.crashed or outcome.killed)
    if machine or stopped or outcome.cause == LitemillError.__name__:
        raise LitemillError(outcome.reason)
    return outcome.reason


def _attempt_here(job: TrainJob) -> Attempt:
    """Train in this process."""
    try:
        take_step(job)
    except StepFailed as error:
        return Attempt(str(error), [])
    return Attempt("", [])


def _deliver(made: Path, warnings: list[str], seconds: float, folder: Path) -> ModelManifest:
    """Move what the worker made to where it belongs, and record what happened on the way."""
    for item in made.iterdir():
        item.replace(folder / item.name)
    for leftover in (made, *folder.glob(f".{MADE}.*")):
        shutil.rmtree(leftover)
    manifest = read_manifest(folder / MODEL, ModelManifest)
    manifest.steps[-1].warnings += warnings
    manifest.steps[-1].seconds = round(seconds, 3)
    write_manifest(folder / MODEL, manifest)
    return manifest


def _write_failed(
    before: ModelManifest, step: Step, reason: str, folder: Path, *, passes: bool = False
) -> ModelManifest:
    """Leave an artifact that says why there is no model."""
    for leftover in folder.iterdir():
        shutil.rmtree(leftover)
    failed = ModelManifest(
        status="failed",
        reason=reason,
        passes=passes,
        origin=before.origin,
        origin_sha256=before.origin_sha256,
        data_sha256=before.data_sha256,
        steps=[*before.steps, record_of(step)],
    )
    write_manifest(folder / MODEL, failed)
    return failed
