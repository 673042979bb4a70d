"""How far a difference between two models on the same samples can be trusted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from litemill.evidence.base import Estimate

CONFIDENCE = 0.95
RESAMPLES = 2000
JACKKNIFE = 1000


def paired_proportion_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = CONFIDENCE
) -> Estimate:
    """Difference of two proportions over the same samples, with its confidence interval.

    Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
    Statistics in Medicine 17 (1998), method 10: Wilson's score intervals of both proportions, combined with their
    correlation phi, whose numerator is corrected for continuity. Holds for few samples and for no disagreement at all.

    Args:
        first: `[samples]`, whether each sample was a success under the first model.
        second: `[samples]`, the same under the second.
        confidence: Of the interval.

    Returns:
        proportion(first) − proportion(second), between −1 and 1.

    Raises:
        ValueError: The lengths differ or are 0.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    n = len(first)
    if n == 0 or second.shape != first.shape:
        raise ValueError(f"paired samples of the same number, not {first.shape} and {second.shape}")
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    right = (int(outcome.sum()) for outcome in (first, second))
    (p1, low1, high1), (p2, low2, high2) = (_wilson(successes, n, confidence) for successes in right)
    phi = _phi(both, only_first, only_second, neither)
    difference = p1 - p2
    below = (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2
    above = (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2
    return Estimate(
        value=difference, ci=(difference - math.sqrt(max(below, 0.0)), difference + math.sqrt(max(above, 0.0)))
    )


def proportion(outcome: NDArray[np.bool_], confidence: float = CONFIDENCE) -> Estimate:
    """A proportion with Wilson's score interval.

    Args:
        outcome: `[samples]`, whether each was a success.
        confidence: Of the interval.
    """
    value, low, high = _wilson(int(np.count_nonzero(outcome)), len(outcome), confidence)
    return Estimate(value=value, ci=(low, high))


def _wilson(successes: int, n: int, confidence: float) -> tuple[float, float, float]:
    """A proportion with the bounds of Wilson's score interval (E. B. Wilson, JASA 22, 1927)."""
    share, z2 = successes / n, NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    arm = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return share, max(0.0, centre - arm), min(1.0, centre + arm)


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Correlation of the paired outcomes, a positive numerator brought n/2 nearer to zero; 0 where undefined."""
    n = both + only_first + only_second + neither
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    numerator = both * neither - only_first * only_second
    corrected = max(numerator - n / 2, 0.0) if numerator > 0 else numerator
    return corrected / math.sqrt(margins)


def paired_bootstrap_difference(
    first: Callable[[NDArray[np.int64]], float],
    second: Callable[[NDArray[np.int64]], float],
    samples: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Difference of a metric between two models on the same samples, for metrics that are no proportion.

    The bootstrap over samples keeps each pair together: bias-corrected and accelerated (Efron, 1987), or by percentiles
    where there are so many samples that its jackknife would take long and change nothing, or where it is undefined.

    Args:
        first: The metric of the first model over the samples with these indices (some repeated).
        second: The same of the second model.
        samples: How many there are.
        seed: Seeds the resampling.
        resamples: How many are drawn.

    Returns:
        first − second over all samples, with its 95 % confidence interval.

    Raises:
        ValueError: There are no samples.
    """
    from scipy import stats  # takes longer to load than all else that most metrics need

    if samples == 0:
        raise ValueError("paired samples are needed, there are none")

    def difference(index: NDArray[np.int64]) -> float:
        return first(index) - second(index)

    index = np.arange(samples)
    value = difference(index)
    for method in ("BCa", "percentile") if samples <= min(JACKKNIFE, resamples) else ("percentile",):
        with warnings.catch_warnings():
            # Where every resample gives the same, the interval is not a number: handled below, not on the console.
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            interval = stats.bootstrap(
                (index,),
                difference,
                vectorized=False,
                n_resamples=resamples,
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite(interval.low) and np.isfinite(interval.high):
            return Estimate(value=value, ci=(float(interval.low), float(interval.high)))
    return Estimate(value=value, ci=(value, value))
