"""Statistics of latency samples: percentiles and ratios with intervals that respect how samples come in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from litemill.evidence.base import Estimate
from litemill.evidence.outcome import Measurement

Samples = NDArray[np.float64]
"""Latencies in ms, `[episodes, rounds, calls]`. In an episode the models are loaded anew; in a round each of them is
called a few times in a row, one model after the other. Calls of a round resemble each other, and so do the rounds of an
episode (where the loader put a model's memory moves its median by a per cent or two), so whole episodes are resampled.
"""

Comparison = Literal["faster", "slower", "no difference shown"]

LEVEL = 0.95
RESAMPLES = 1000
P99_SAMPLES = 2000
"""Below this many samples a 99th percentile is an anecdote."""
PLACEMENT = 0.005
"""What a process as a whole is worth: in two of them the same two files differ by some tenths of a per cent, which no
resampling inside one shows (Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!", 2009).
"""
LARGEST = 1e300
"""An upper bound that is none, and can be written as JSON."""
CHUNK = 1 << 21
"""Elements resampled at a time: bounds memory to 16 MiB."""


def percentiles(samples: int) -> list[int]:
    """The percentiles that a number of samples supports."""
    return [50, 90, 99] if samples >= P99_SAMPLES else [50, 90]


def percentile(samples: Samples, q: int, *, seed: int = 0) -> Estimate:
    """A percentile of all samples, with its block-bootstrap interval.

    Args:
        samples: ms, `[episodes, rounds, calls]`.
        q: Percentile, 0 to 100.
        seed: Seeds the resampling.
    """
    episodes = samples.reshape(len(samples), -1)
    return _bootstrap(episodes, lambda drawn: np.percentile(drawn, q, axis=-1), seed)


def ratio_of_medians(samples: Samples, baseline: Samples, *, seed: int = 0, placement: float = PLACEMENT) -> Estimate:
    """How much slower a model is than the baseline it was interleaved with: a ratio of medians, with its interval.

    Each round gives one ratio of the two medians, and the median of those is reported: what slows the machine for some
    rounds slows both, and cancels. Medians over a whole session would not (a machine with two clock speeds gives
    samples with two modes, and a pooled median falls into either).

    Args:
        samples: ms, `[episodes, rounds, calls]`.
        baseline: ms, `[episodes, rounds, calls of the baseline]`.
        seed: Seeds the resampling.
        placement: Fraction by which the interval is widened on either side.

    Raises:
        ValueError: The two do not have the same episodes and rounds.
    """
    if samples.shape[:2] != baseline.shape[:2]:
        raise ValueError(f"rounds {samples.shape[:2]} against {baseline.shape[:2]}: they were not interleaved")
    ratios = np.median(samples, axis=2) / np.median(baseline, axis=2)
    found = _bootstrap(ratios, lambda drawn: np.median(drawn, axis=-1), seed)
    return Estimate(value=found.value, ci=(found.ci[0] * (1 - placement), found.ci[1] * (1 + placement)))


def ratio_between(one: Measurement, other: Measurement) -> Estimate | None:
    """How much slower a model is than another of the same session, where both have a latency.

    Both were interleaved with the same baseline: the quotient of their ratios to it is free of what slowed the machine
    for some rounds. The arms of the two intervals are added in quadrature on the logarithm (the delta method for a
    quotient), as if the two were independent; the baseline that they share makes them vary together, so the interval
    is rather too wide. Without ratios (an estimate, a device that times each model alone) the medians themselves are
    divided.
    """
    if one.status == "failed" or other.status == "failed":
        return None
    if one.sha256 and one.sha256 == other.sha256:
        return Estimate(value=1.0, ci=(1.0, 1.0)) if "p50" in one.latency_ms else None
    both = one.ratio_to_float32, other.ratio_to_float32
    first, second = both if all(both) else (_median(one), _median(other))
    if first is None or second is None or min(first.value, second.value) <= 0:
        return None
    value = first.value / second.value
    below = math.hypot(_arm(first, 0), _arm(second, 1))
    above = math.hypot(_arm(first, 1), _arm(second, 0))
    return Estimate(value=value, ci=(value * math.exp(-below), min(value * math.exp(min(above, 600.0)), LARGEST)))


def _median(found: Measurement) -> Estimate | None:
    """A median with its interval; the value alone where there is none."""
    value = found.latency_ms.get("p50")
    return None if value is None else Estimate(value=value, ci=found.latency_ci_ms.get("p50", (value, value)))


def _arm(found: Estimate, side: int) -> float:
    """How far a bound is from the value, on the logarithm."""
    return abs(math.log(max(found.ci[side], 1 / LARGEST) / found.value))


def compare(ratio: Estimate) -> Comparison:
    """Say what an interval of a ratio to the baseline shows."""
    if ratio.ci[1] < 1:
        return "faster"
    return "slower" if ratio.ci[0] > 1 else "no difference shown"


def _bootstrap(
    episodes: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int
) -> Estimate:
    """Resample rows of `[episodes, values]`; the interval is the expanded percentile interval.

    It is as wide as Student's t asks for few blocks. Source: T. Hesterberg, "What Teachers Should Know about the
    Bootstrap", The American Statistician 69(4), 2015.
    """
    value = float(statistic(episodes.ravel()))
    count = len(episodes)
    if count < 2:
        return Estimate(value=value, ci=(0.0, LARGEST))
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // episodes.size)
    draws = []
    for start in range(0, RESAMPLES, at_once):
        rows = generator.integers(0, count, size=(min(at_once, RESAMPLES - start), count))
        draws.append(statistic(episodes[rows].reshape(len(rows), -1)))
    tail = float(ndtr(np.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 - LEVEL) / 2)))
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    return Estimate(value=value, ci=(min(float(low), value), max(float(high), value)))
