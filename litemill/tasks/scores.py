"""The functions of our metrics, each of outcomes and targets over any selection of samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from litemill.errors import StepFailed
from litemill.tasks.task import Array

Weights = NDArray[np.int64]


def mean(outcome: Array, target: Array) -> float:
    """Mean of one number a sample."""
    return float(np.mean(outcome))


def root_mean(outcome: Array, target: Array) -> float:
    """Root of the mean of one number a sample."""
    return float(np.sqrt(np.mean(outcome)))


def share(outcome: Array, target: Array) -> float:
    """Share that is right: `[samples]` of truth values, or `[samples, 2]` of how many are right, of how many."""
    if outcome.ndim == 1:
        return float(np.mean(outcome))
    return _share(outcome.sum(axis=0))


def weighted_share(outcome: Array, target: Array) -> Callable[[Weights], float]:
    """`share` over weighted samples."""
    if outcome.ndim == 1:
        return lambda weights: float(weights @ outcome / weights.sum())
    return _of_sums(outcome, _share)


def _share(sums: Array) -> float:
    return float(sums[0] / sums[1]) if sums[1] else 0.0


def area_under_curve(score: Array, label: Array) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half (Mann-Whitney).

    Args:
        score: `[samples]`, larger for positives.
        label: `[samples]`, 1 for positives and 0 for negatives.

    Raises:
        StepFailed: One of the classes has no samples.
    """
    from scipy.stats import rankdata

    positive = label > 0
    count = int(positive.sum())
    if not 0 < count < len(label):
        raise StepFailed("auc needs samples of both classes")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(label) - count)))


def _of_sums(outcome: Array, value: Callable[[Array], float]) -> Callable[[Weights], float]:
    """A metric that is a function of the sums of each column over the samples."""
    flat = outcome.reshape(len(outcome), -1).astype(np.float64)
    shape = outcome.shape[1:]
    return lambda weights: value((weights @ flat).reshape(shape))


def mean_overlap(outcome: Array, target: Array) -> float:
    """Mean intersection over union of the classes that occur: of `[samples, 3, classes]` right, wanted and given."""
    return _mean_overlap(outcome.sum(axis=0))


def weighted_overlap(outcome: Array, target: Array) -> Callable[[Weights], float]:
    """`mean_overlap` over weighted samples."""
    return _of_sums(outcome, _mean_overlap)


def _mean_overlap(sums: Array) -> float:
    right, wanted, given = sums
    return _mean_of_known(right, wanted + given - right)


def mean_f1(outcome: Array, target: Array) -> float:
    """Mean F1 of the classes (or labels) that occur: of `[samples, 3, classes]` right, wanted and given."""
    return _mean_f1(outcome.sum(axis=0))


def weighted_f1(outcome: Array, target: Array) -> Callable[[Weights], float]:
    """`mean_f1` over weighted samples."""
    return _of_sums(outcome, _mean_f1)


def _mean_f1(sums: Array) -> float:
    right, wanted, given = sums
    return _mean_of_known(2 * right, wanted + given)


def _mean_of_known(part: Array, whole: Array) -> float:
    """Mean of the quotients whose divisor is not 0; 0 where there is none."""
    known = whole > 0
    return float(np.mean(part[known] / whole[known])) if known.any() else 0.0


def average_precisions(score: Array, label: Array) -> Callable[[Weights], Array]:
    """Average precision of each label over weighted samples, as scikit-learn defines it; NaN without a positive.

    AP = Σ (R_k − R_{k−1}) · P_k over the distinct scores from the highest on. Samples are sorted once, whatever their
    weights.

    Args:
        score: `[samples, labels]`.
        label: `[samples, labels]` of 0 and 1; −1 is left out.

    Returns:
        A function of `[samples]` weights that gives `[labels]`.
    """
    order = np.argsort(-score, axis=0, kind="stable")
    ranked = np.take_along_axis(score, order, axis=0)
    labels = np.take_along_axis(np.asarray(label), order, axis=0)
    true, known = labels > 0, labels >= 0
    last = np.ones(score.shape, bool)  # of the samples that share a score
    last[:-1] = ranked[1:] != ranked[:-1]

    def value(weights: Weights) -> Array:
        counted = weights[order] * known
        found = np.cumsum(counted * true, axis=0, dtype=np.float64)
        given = np.cumsum(counted, axis=0, dtype=np.float64)
        precision = np.divide(found, given, out=np.zeros_like(found), where=given > 0)
        if not last.all():
            found, precision = _at_last(found, precision, last)
        gained = np.diff(found, axis=0, prepend=0.0)
        total = found[-1]
        area = (gained * precision).sum(axis=0)
        average: Array = np.divide(area, total, out=np.full_like(total, np.nan), where=total > 0)
        return average

    return value


def _at_last(found: Array, precision: Array, last: Array) -> tuple[Array, Array]:
    """Give every sample of equal scores what stands at the last of them."""
    places = np.where(last, np.arange(len(last))[:, np.newaxis], len(last) - 1)
    places = np.minimum.accumulate(places[::-1], axis=0)[::-1]
    return np.take_along_axis(found, places, axis=0), np.take_along_axis(precision, places, axis=0)


def mean_average_precision(score: Array, label: Array) -> float:
    """Mean over the labels that some sample has of their average precision (see `average_precisions`)."""
    return weighted_average_precision(score, label)(np.ones(len(score), np.int64))


def weighted_average_precision(score: Array, label: Array) -> Callable[[Weights], float]:
    """`mean_average_precision` over weighted samples."""
    by_label = average_precisions(score, label)

    def value(weights: Weights) -> float:
        found = by_label(weights)
        return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0

    return value
