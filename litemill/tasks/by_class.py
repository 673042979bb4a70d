"""The figure that a task tells for each class, over weighted samples: what a limit on the worst class is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from litemill.tasks.scores import Weights, average_precisions
from litemill.tasks.task import Array


class ClassFigure(NamedTuple):
    """A figure for each class or label.

    Attributes:
        name: As `Breakdown.name` has it.
        over: Of outcomes and targets of all samples: a function that gives `[classes]` over samples that each count so
            often, NaN where no sample tells it.
        fits: Whether outcomes and targets are such that it can be told from.
    """

    name: str
    over: Callable[[Array, Array], Callable[[Weights], Array]]
    fits: Callable[[Array, Array], bool] = lambda outcome, target: outcome.ndim == 3 and outcome.shape[1] == 3


def _of_counts(value: Callable[[Array], tuple[Array, Array]]) -> Callable[[Array, Array], Callable[[Weights], Array]]:
    """A quotient of the sums of outcomes `[samples, 3, classes]`: right, wanted and given."""

    def over(outcome: Array, target: Array) -> Callable[[Weights], Array]:
        flat = outcome.reshape(len(outcome), -1).astype(np.float64)
        shape = outcome.shape[1:]

        def figures(weights: Weights) -> Array:
            part, whole = value((weights @ flat).reshape(shape))
            quotient: Array = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
            return quotient

        return figures

    return over


IOU = ClassFigure("iou", _of_counts(lambda sums: (sums[0], sums[1] + sums[2] - sums[0])))
"""Intersection over union."""
F1 = ClassFigure("f1", _of_counts(lambda sums: (2 * sums[0], sums[1] + sums[2])))
AVERAGE_PRECISION = ClassFigure(
    "average precision", average_precisions, lambda outcome, target: outcome.ndim == 2 and outcome.shape == target.shape
)

FIGURES: dict[str, ClassFigure] = {figure.name: figure for figure in (IOU, F1, AVERAGE_PRECISION)}
"""Those that are made of outcomes, by name."""
