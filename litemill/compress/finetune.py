"""The control: the same further training as the other steps, without compression."""

from __future__ import annotations

from litemill.compress.batch_norm import refresh_batch_norm
from litemill.compress.layers import copy_model
from litemill.compress.work import Done, Work
from litemill.config.steps import FinetuneOptions
from litemill.evidence.training import FinetuneFindings


def finetune(work: Work, _options: FinetuneOptions) -> Done:
    """Train further: same optimizer, data, steps and BatchNorm refresh as a compressing step.

    A compressed model is compared with this one, so that extra training is not mistaken for free compression.

    Args:
        work: The model and its training.
    """
    model = copy_model(work.model)
    training = work.fine_tune(model)
    refresh_batch_norm(model, work.batches)
    return Done(model, FinetuneFindings(training=training))
