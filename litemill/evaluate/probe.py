"""A few samples with the answers that a `.tflite` gave to them, kept beside its evaluation.

Whoever gets the file later can ask it the same again: a release is verified so, without the data set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from litemill.data.splits import Split
from litemill.evaluate.score import Array, Run

MOST_SAMPLES, MOST_BYTES = 16, 4 << 20
"""Samples that are kept, and bytes of inputs and answers together; one sample is kept whatever its size."""


class Probe(NamedTuple):
    """Samples `[samples, …]` as the model takes them, their targets, and its answers (float32)."""

    x: Array
    y: Array
    outputs: Array


def probe(run: Run, test: Split) -> Probe:
    """Ask a model about samples from all over a split.

    Args:
        run: Of the model.
        test: The split.
    """
    places = np.unique(np.linspace(0, len(test) - 1, MOST_SAMPLES).astype(np.int64))
    x = np.asarray(test.x[places])
    outputs = run(x)
    each = x[:1].nbytes + outputs[:1].nbytes
    kept = max(1, min(len(places), MOST_BYTES // max(1, each)))
    return Probe(x[:kept], np.asarray(test.y[places])[:kept], outputs[:kept])
