"""Parity: a target must compute what the model computes, or its speed means nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from litemill.evidence import Parity

SAMPLES = 8
"""Real samples that every target answers."""


def compare_outputs(
    found: NDArray[np.float32], expected: NDArray[np.float32], *, reference: str, tolerance: float
) -> Parity:
    """Compare the outputs of a target with those of a reference, on the same samples.

    Args:
        found: Dequantized outputs of the target, `[samples, …]`.
        expected: Those of the reference, of the same shape.
        reference: What the reference is, for the reader.
        tolerance: Largest error allowed, as a fraction of the spread (largest minus smallest) of the expected outputs:
            an absolute limit would pass anything where outputs are small.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        worst = float(np.finfo(np.float32).max)
        return Parity(reference=reference, samples=len(expected), max_error=worst, agreement=0.0, ok=False)
    spread = float(np.ptp(expected)) or 1.0
    error = float(np.max(np.abs(found.astype(np.float64) - expected))) / spread
    rows = len(expected)
    same = np.argmax(found.reshape(rows, -1), axis=1) == np.argmax(expected.reshape(rows, -1), axis=1)
    return Parity(
        reference=reference, samples=rows, max_error=error, agreement=float(np.mean(same)), ok=error <= tolerance
    )
