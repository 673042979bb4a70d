"""How far outputs are from those they should be, beside how far these are from one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE, WORST = 3e-4, 1e-2
"""Root mean square and largest difference allowed, in standard deviations of the source's outputs.

A wrong operation moves most outputs, and float32 rounding about 1e-5; but where a steep softmax stands between two
classes, rounding alone moves a single output by 1e-3 (MobileNetV2), which says nothing against a model.
"""


def relative_error(reference: NDArray[np.floating], outputs: NDArray[np.floating]) -> float:
    """Largest absolute difference in standard deviations of the reference, which an absolute tolerance would hide.

    Infinite where the reference is constant and the outputs differ, or where the outputs are not finite.
    """
    if not np.isfinite(outputs).all():
        return float("inf")
    difference, spread = float(np.abs(reference - outputs).max()), float(np.std(reference))
    if spread == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / spread


def computes_otherwise(
    reference: NDArray[np.floating], outputs: NDArray[np.floating], tolerance: float = TOLERANCE
) -> str:
    """By how much outputs differ from the reference, if it is more than float32 rounding explains; else empty.

    Args:
        reference: What they should be, `[samples, …]`.
        outputs: What they are.
        tolerance: Root mean square of the difference that is allowed, in standard deviations of the reference.
    """
    worst = relative_error(reference, outputs)
    if not np.isfinite(worst):
        return "an infinite part of the outputs' spread"
    spread = float(np.std(reference)) or 1.0
    mean = float(np.sqrt(np.mean(np.square(np.asarray(reference, np.float64) - outputs)))) / spread
    if mean <= tolerance and worst <= WORST:
        return ""
    return f"{mean:.2g} of the outputs' spread, {worst:.2g} at worst"
