"""Intervals that hold for all variants of a run at once.

The best of many variants is the one whose figures were lucky: by separate 95 % intervals, the one that ships breaks its
budget more often than in 5 of 100 runs. Intervals that cover all true values together in 95 of 100 runs do not depend
on which variant is picked afterwards. They are the separate ones made wider: by how much is the critical value here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from litemill.evaluate.statistics import CONFIDENCE, paired_proportion_difference
from litemill.evidence.base import Estimate

Columns = NDArray[np.float64]
"""`[samples, statistics]`: what each sample adds to each statistic; or `[resamples, statistics]`: their values."""

DRAWS = 20_000
"""Of the largest statistic: the critical value is then known to about 0.01."""
CHUNK = 1 << 22
"""Numbers drawn at a time: bounds memory to 32 MiB."""


def separate(confidence: float) -> float:
    """The critical value of one interval alone: 1.96 for 95 %."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def bonferroni(variants: int, confidence: float) -> float:
    """A critical value that holds for any number of variants, however they depend on each other.

    A variant is shipped wrongly only if each limit that it truly breaks is passed wrongly, so that one interval for
    each variant counts, whatever the number of limits (an intersection-union test: R. L. Berger, "Multiparameter
    hypothesis testing and acceptance sampling", Technometrics 24, 1982).
    """
    return NormalDist().inv_cdf(1 - (1 - confidence) / (2 * max(variants, 1)))


def critical_value(columns: Columns, variants: int, confidence: float, *, seed: int = 0) -> float:
    """How many standard errors the intervals of all statistics need, to cover all true values together.

    The quantile of the largest absolute statistic (max-T) over the paired samples. For sums over samples the multiplier
    bootstrap with Gaussian weights draws from the normal law with the samples' own correlation (V. Chernozhukov, D.
    Chetverikov, K. Kato, "Gaussian approximations and multiplier bootstrap for maxima of sums", Annals of Statistics
    41, 2013; T. Hothorn, F. Bretz, P. Westfall, "Simultaneous inference in general parametric models", Biometrical
    Journal 50, 2008). Variants that err on the same samples count for less than as many independent ones. It is never
    more than Bonferroni asks for, and never less than one interval alone.

    Args:
        columns: What each sample adds to each statistic, or values of the statistics over resamples; a column that
            is constant is known exactly and takes no part.
        variants: How many different variants are judged.
        confidence: That all intervals hold.
        seed: Seeds the drawing.
    """
    alone, most = separate(confidence), bonferroni(variants, confidence)
    spread = columns.std(axis=0) if len(columns) else np.zeros(columns.shape[1])
    vary = columns[:, spread > 0]
    if variants <= 1 or vary.shape[1] == 0:
        return alone
    standard = (vary - vary.mean(axis=0)) / vary.std(axis=0)
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // root.shape[0])
    largest = [
        np.abs(generator.standard_normal((min(at_once, DRAWS - start), root.shape[1])) @ root.T).max(axis=1)
        for start in range(0, DRAWS, at_once)
    ]
    return float(np.clip(np.quantile(np.concatenate(largest), confidence), alone, most))


def level_of(critical: float) -> float:
    """The confidence of one interval alone that has this critical value."""
    return float(1 - 2 * ndtr(-critical))


def widened(estimate: Estimate, critical: float, *, blocks: int = 0) -> Estimate:
    """A 95 % interval, with arms as long as a critical value asks for.

    Args:
        estimate: With its separate 95 % interval, each arm of which is scaled.
        critical: In place of the normal law's 1.96.
        blocks: Blocks that were resampled, where they are few: Student's t then stands in for the normal law.
    """
    factor = critical / separate(CONFIDENCE)
    if blocks > 1:
        tails = ndtr(-critical), (1 - CONFIDENCE) / 2
        factor = float(stdtrit(blocks - 1, tails[0]) / stdtrit(blocks - 1, tails[1]))
    low, high = estimate.ci
    value = estimate.value
    return Estimate(value=value, ci=(value - (value - low) * factor, value + (high - value) * factor))


def worst_class(
    better: NDArray[np.bool_], worse: NDArray[np.bool_], labels: NDArray[np.int64], critical: float
) -> tuple[int, Estimate]:
    """The largest drop of accuracy over the classes, with its interval.

    The worst class keeps a limit only where all do. So the upper bound is the largest of those of the classes, none of
    them widened (an intersection-union test); the lower bound is the largest of the lower ones, each widened for the
    number of classes (Bonferroni), as any of them may be the largest by chance.

    Args:
        better: `[samples]`, whether the reference is right.
        worse: `[samples]`, whether the variant is.
        labels: `[samples]`, class of each sample; below 0 is none.
        critical: Of an interval of one class.

    Returns:
        The class that lost most, and its drop; the interval is that of the largest true drop.

    Raises:
        ValueError: No sample has a class.
    """
    found = {int(label): (better[labels == label], worse[labels == label]) for label in np.unique(labels) if label >= 0}
    if not found:
        raise ValueError("no sample has a class")
    upper, lower = level_of(critical), level_of(_shared(critical, len(found)))
    high = {label: paired_proportion_difference(*pair, upper) for label, pair in found.items()}
    low = max(paired_proportion_difference(*pair, lower).ci[0] for pair in found.values())
    worst = max(high, key=lambda label: high[label].value)
    value = high[worst].value
    return worst, Estimate(value=value, ci=(min(low, value), max(one.ci[1] for one in high.values())))


def worst_of(values: NDArray[np.float64], errors: NDArray[np.float64], critical: float) -> tuple[int, Estimate] | None:
    """The same for figures whose standard errors come from resamples.

    Args:
        values: `[classes]` drops, NaN where no sample tells one.
        errors: `[classes]` their standard errors.
        critical: Of an interval of one class.

    Returns:
        The class that lost most, and its drop; None where no class has one.
    """
    known = np.isfinite(values) & np.isfinite(errors)
    if not known.any():
        return None
    high = float((values + critical * errors)[known].max())
    low = float((values - _shared(critical, int(known.sum())) * errors)[known].max())
    worst = int(np.nanargmax(np.where(known, values, np.nan)))
    value = float(values[worst])
    return worst, Estimate(value=value, ci=(min(low, value), max(high, value)))


def _shared(critical: float, classes: int) -> float:
    """The critical value where one error is shared by several classes."""
    return float(-ndtri(ndtr(-critical) / classes))


def resample(
    metrics: Sequence[Callable[[NDArray[np.int64]], NDArray[np.float64]]], samples: int, *, draws: int, seed: int = 0
) -> list[NDArray[np.float64]]:
    """Values of several metrics over the same resamples of the samples: pairs stay together.

    Args:
        metrics: Each gives a figure, or several, over the samples of an index.
        samples: How many there are.
        draws: Resamples.
        seed: Seeds the drawing.

    Returns:
        `[draws, …]` for each metric.
    """
    generator = np.random.default_rng(seed)
    values: list[list[NDArray[np.float64]]] = [[] for _ in metrics]
    for _ in range(draws):
        index = generator.integers(0, samples, samples)
        for kept, metric in zip(values, metrics, strict=True):
            kept.append(np.asarray(metric(index), np.float64))
    return [np.stack(kept) for kept in values]


def enough_samples(samples: int, estimate: Estimate, limit: float) -> int | None:
    """About how many samples would settle a limit that lies in the interval, if the value stayed what it is.

    An interval's arm shrinks with the root of the number of samples: n · (arm / distance)², rounded up to two digits.

    Args:
        samples: How many there are.
        estimate: The value with its interval.
        limit: What it is compared with.

    Returns:
        None where the value lies on the limit, which no number of samples settles.
    """
    distance = limit - estimate.value
    arm = estimate.ci[1] - estimate.value if distance >= 0 else estimate.value - estimate.ci[0]
    if abs(distance) < 1e-12 or samples <= 0:
        return None
    needed = samples * (arm / distance) ** 2
    if needed > 1e12:
        return None
    step = 10 ** max(0, math.floor(math.log10(max(needed, 1))) - 1)
    return int(math.ceil(needed / step) * step)
