"""Start quantization-aware training from the ranges that the activations have.

TFMOT starts every activation's range at [-6, 6] and moves it by a thousandth of the way at each step. A short training
ends long before the ranges fit, with most of the 256 levels unused.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from litemill.compress.batches import Batches
from litemill.models.backend import tensorflow

SAMPLES = 2048
DECAY = 0.999
"""Of the moving average in TFMOT's MovingAverageQuantizer."""
SETTLING = 2
"""Passes before the averages count: in the first one each layer sees what the wrong ranges before it let through."""

_RANGE = re.compile(r"/(output|pre_activation|post_activation)_(min|max):0$")
_STATISTIC = re.compile(r"/moving_(mean|variance):0$")


def calibrate_ranges(model: Any, batches: Batches) -> None:
    """Set the moving ranges of a wrapped model to their mean over training batches, in place.

    A forward pass in training mode moves a range r by (1 − decay)·(b − r) towards the batch's b, so b can be read back.

    Args:
        model: As TFMOT wrapped it for quantization-aware training.
        batches: The train split.
    """
    tf = tensorflow()
    ranges = [variable for variable in model.variables if _RANGE.search(variable.name)]
    statistics = [variable for variable in model.variables if _STATISTIC.search(variable.name)]
    kept = [variable.numpy() for variable in statistics]

    @tf.function(input_signature=[batches.specs(None)[0]])  # type: ignore[untyped-decorator]
    def forward(samples: Any) -> None:
        model(samples, training=True)

    seen: list[list[Any]] = []
    for number, samples in enumerate(batches.plain(SAMPLES)):
        before = [variable.numpy() for variable in ranges]
        forward(samples)
        moved = zip(ranges, before, strict=True)
        seen.append([value + (variable.numpy() - value) / (1.0 - DECAY) for variable, value in moved])
        counted = seen[min(SETTLING, number) :]
        for variable, values in zip(ranges, zip(*counted, strict=True), strict=True):
            variable.assign(np.mean(values, axis=0))
    for variable, value in zip(statistics, kept, strict=True):
        variable.assign(value)
