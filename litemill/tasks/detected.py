"""Mean average precision of detections, as COCO defines it, over any selection of samples.

Lin et al., "Microsoft COCO: Common Objects in Context" (2014) and its evaluation, https://cocodataset.org/#detection-eval:
within a class, the detections of a sample take the targets they overlap most, highest score first, if the overlap is at
least a threshold; those that get none are wrong. Average precision is the mean, over 101 levels of recall, of the
highest precision at that recall or more. Detections of equal scores stand in the order of the samples, as in COCO's own
program.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from litemill.tasks.boxes import CORNERS, overlaps
from litemill.tasks.task import Array

Weights = NDArray[np.int64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps at which a detection counts as right."""
LEVELS = np.linspace(0.0, 1.0, 101)
"""Of recall at which the precision is read."""
CLASS, SCORE, RIGHT = 0, 1, 2
"""Columns of a detection's outcome; from `RIGHT` on whether it is right at each threshold."""


def judged(found: Array, targets: Array) -> Array:
    """Which detections are right, `[samples, most, 2 + thresholds]`: class (−1 for none), score, right or not.

    Args:
        found: `[samples, most, 6]` detections, highest score first.
        targets: `[samples, boxes, 5]`: corners and class, −1 for none.
    """
    outcome = np.zeros((*found.shape[:2], RIGHT + len(THRESHOLDS)), np.float32)
    outcome[..., CLASS], outcome[..., SCORE] = found[..., -1], found[..., CORNERS]
    for sample, (boxes, wanted) in enumerate(zip(found, targets, strict=True)):
        for label in np.intersect1d(boxes[:, -1], wanted[:, -1]):
            if label < 0:
                continue
            mine, its = np.flatnonzero(boxes[:, -1] == label), np.flatnonzero(wanted[:, -1] == label)
            shared = overlaps(boxes[mine, :CORNERS].astype(np.float64), wanted[its, :CORNERS].astype(np.float64))
            for at, threshold in enumerate(THRESHOLDS):
                outcome[sample, mine, RIGHT + at] = _taken(shared, threshold)
    return outcome


def _taken(shared: Array, threshold: float) -> Array:
    """Whether each row, the first ones first, gets the free column it overlaps most, and enough."""
    free, right = np.ones(shared.shape[1], bool), np.zeros(len(shared), bool)
    for row, overlap in enumerate(shared):
        best = int(np.argmax(np.where(free, overlap, -1.0)))
        if free[best] and overlap[best] >= threshold:
            free[best], right[row] = False, True
    return right


def average_precisions(outcome: Array, labels: Array, thresholds: slice) -> Callable[[Weights], Array]:
    """Average precision of each class, the mean over thresholds, over weighted samples; NaN without a target.

    Detections are sorted once, whatever the samples' weights.

    Args:
        outcome: As `judged` gives it.
        labels: `[samples, boxes]` class of each target, −1 for none.
        thresholds: Which of them.

    Returns:
        A function of `[samples]` weights that gives `[classes]`.
    """
    classes = 1 + int(max(labels.max(initial=-1), outcome[..., CLASS].max(initial=-1)))
    samples, _ = np.nonzero(outcome[..., CLASS] >= 0)
    rows = outcome[outcome[..., CLASS] >= 0]
    order = np.argsort(-rows[:, SCORE], kind="stable")
    samples, rows = samples[order], rows[order]
    of_class = [np.flatnonzero(rows[:, CLASS] == label) for label in range(classes)]
    right = [rows[places, RIGHT:][:, thresholds] > 0 for places in of_class]
    wanted = np.stack([(labels == label).sum(axis=1) for label in range(classes)], axis=1)

    def value(weights: Weights) -> Array:
        totals = weights @ wanted
        return np.array(
            [_average(weights[samples[of_class[label]]], right[label], int(totals[label])) for label in range(classes)]
        )

    return value


def _average(weights: Array, right: Array, total: int) -> float:
    """Mean average precision over thresholds: of `[detections]` weights and `[detections, thresholds]` right or not."""
    if not total:
        return np.nan
    if not len(weights):
        return 0.0
    counted = weights[:, np.newaxis].astype(np.float64)
    hits = np.cumsum(counted * right, axis=0)
    given = np.cumsum(counted, axis=0)
    precision = np.divide(hits, given, out=np.zeros_like(hits), where=given > 0)
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    found = []
    for column in range(right.shape[1]):
        places = np.searchsorted(hits[:, column] / total, LEVELS, side="left")
        reached = places < len(precision)
        found.append(precision[places[reached], column].sum() / len(LEVELS))
    return float(np.mean(found))


ALL, HALF = slice(None), slice(0, 1)


def over_all(outcome: Array, labels: Array) -> float:
    """Mean average precision at overlaps of .5, .55 … .95."""
    return weighted_over_all(outcome, labels)(np.ones(len(outcome), np.int64))


def weighted_over_all(outcome: Array, labels: Array) -> Callable[[Weights], float]:
    """`over_all` over weighted samples."""
    return _mean_over_classes(outcome, labels, ALL)


def at_half(outcome: Array, labels: Array) -> float:
    """Mean average precision at an overlap of .5."""
    return weighted_at_half(outcome, labels)(np.ones(len(outcome), np.int64))


def weighted_at_half(outcome: Array, labels: Array) -> Callable[[Weights], float]:
    """`at_half` over weighted samples."""
    return _mean_over_classes(outcome, labels, HALF)


def _mean_over_classes(outcome: Array, labels: Array, thresholds: slice) -> Callable[[Weights], float]:
    by_class = average_precisions(outcome, labels, thresholds)

    def value(weights: Weights) -> float:
        found = by_class(weights)
        return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0

    return value
