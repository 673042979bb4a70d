"""The control: the same further training as the other steps, without compression."""

from __future__ import annotations

from pathlib import Path

from litemill.compress.batch_norm import refresh_batch_norm
from litemill.compress.layers import copy_model
from litemill.compress.step import Done, Work, run_step
from litemill.config.run import Training
from litemill.config.steps import FinetuneOptions
from litemill.evidence import ModelManifest


def finetune_model(
    model: Path, dataset: Path, options: FinetuneOptions, training: Training, out: Path, source: Path | None = None
) -> ModelManifest:
    """Train further: same optimizer, data, steps and BatchNorm refresh as a compressing step.

    A compressed model is compared with this one, so that extra training is not mistaken for free compression.

    Args:
        model: Model artifact to start from.
        dataset: Dataset artifact.
        options: Of the step.
        training: The run's training section.
        out: Where the Model artifact goes.
        source: Model artifact of the distillation's teacher; `model` where it is None.
    """
    return run_step("finetune", model, dataset, options, training, out, source, _finetune)


def _finetune(work: Work) -> Done:
    model = copy_model(work.model)
    measured = work.fine_tune(model)
    refresh_batch_norm(model, work.batches)
    return Done(model, {"training": measured}, [])
