"""The Pareto front: the points that no other point beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Mark the points that are not dominated; smaller is better on every axis.

    A point is dominated when another is at least as good on every axis and better on one; equal points are both kept.

    Args:
        points: n points of k finite coordinates each.

    Returns:
        n flags, in the order of the points.

    Example:
        >>> pareto_front([(0.1, 300.0), (0.2, 100.0), (0.3, 200.0)])
        [True, True, False]
    """
    if not points:
        return []
    table = np.asarray(points, dtype=np.float64)
    no_worse = (table[:, None, :] <= table[None, :, :]).all(axis=2)
    better = (table[:, None, :] < table[None, :, :]).any(axis=2)
    dominated = np.any(no_worse & better, axis=0)
    return [not bool(flag) for flag in dominated]
