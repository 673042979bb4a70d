"""Parity: a target must compute what the model computes, or its speed means nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from litemill.evidence.outcome import Parity
from litemill.tasks import Decisions

SAMPLES = 8
"""Real samples that every target answers."""

ROUNDING_STEPS = 3
"""Steps of the output's quantization that rounding alone explains: kernels round in each layer, the one up, the other
down. Where a model uses few of the levels, such a step is a large part of its outputs' spread."""


def compare_outputs(
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    *,
    reference: str,
    tolerance: float,
    step: float = 0.0,
    decide: Decisions | None = None,
) -> Parity:
    """Compare the outputs of a target with those of a reference, on the same samples.

    Args:
        found: Dequantized outputs of the target, `[samples, …]`.
        expected: Those of the reference, of the same shape.
        reference: What the reference is, for the reader.
        tolerance: Largest error allowed, as a fraction of the spread (largest minus smallest) of the expected outputs:
            an absolute limit would pass anything where outputs are small.
        step: Scale of the output where it is quantized: `ROUNDING_STEPS` of it are allowed too.
        decide: What reads the task's decisions out of outputs; None where outputs are numbers.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        worst = float(np.finfo(np.float32).max)
        return Parity(
            reference=reference, samples=len(expected), max_error=worst, agreement=0.0 if decide else None, ok=False
        )
    spread = float(np.ptp(expected)) or 1.0
    difference = float(np.max(np.abs(found.astype(np.float64) - expected)))
    error, steps = difference / spread, round(difference / step) if step else None
    return Parity(
        reference=reference,
        samples=len(expected),
        max_error=error,
        agreement=decide.agreement(found, expected) if decide else None,
        ok=error <= tolerance or (steps is not None and steps <= ROUNDING_STEPS),
        steps=steps,
    )


def wrong_answer(parity: Parity) -> str:
    """Why outputs are wrong; empty where they are right."""
    if parity.ok:
        return ""
    steps = f", {parity.steps} quantization steps" if parity.steps is not None else ""
    return f"outputs differ by {parity.max_error:.2g} of their spread{steps}"
