"""Two models on the same samples: what was found for each sample, and the drop from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.evaluate.statistics import (
    CONFIDENCE,
    RESAMPLES,
    paired_bootstrap_difference,
    paired_proportion_difference,
    proportion,
)
from litemill.evidence.base import Estimate
from litemill.evidence.outcome import Evaluation
from litemill.tasks import metric_of

COPIED_BYTES, FEWEST_RESAMPLES = 100 << 30, 200
"""Of a user's own metric of large outputs: each resample copies them all, at some 5 GB a second."""


class Samples(NamedTuple):
    """What `samples.npz` holds for each test sample (see litemill.tasks.Outcomes)."""

    outcome: NDArray[Any]
    prediction: NDArray[Any]
    target: NDArray[Any]
    label: NDArray[np.int64] | None = None
    """The true class, where each sample has one."""

    @property
    def right_or_wrong(self) -> bool:
        """Whether the outcome is a truth value for each sample, so that the metric is a proportion."""
        return self.outcome.dtype == bool and self.outcome.ndim == 1


def read_samples(file: Path) -> Samples:
    """Read `samples.npz`.

    Raises:
        OSError: It is not there.
    """
    with np.load(file, allow_pickle=False) as stored:
        label, target = stored.get("label"), stored.get("target", np.empty(0))
        return Samples(stored["outcome"], stored["prediction"], target, label)


def paired_drop(evaluation: Evaluation, reference: Samples, found: Samples, confidence: float = CONFIDENCE) -> Estimate:
    """Loss of the metric against a reference; positive is worse, also for a metric of which less is better.

    Args:
        evaluation: Says the metric.
        reference: What it is compared with.
        found: The model that may have lost.
        confidence: Of the interval where the metric is a proportion; 0.95 where it is resampled.
    """
    better, worse = (reference, found) if evaluation.higher_is_better else (found, reference)
    if reference.right_or_wrong:
        return paired_proportion_difference(better.outcome, worse.outcome, confidence)
    first, second = (over(evaluation, samples) for samples in (better, worse))
    return paired_bootstrap_difference(first, second, len(found.outcome), resamples=_affordable(evaluation, found))


def own_value(evaluation: Evaluation, found: Samples, confidence: float = CONFIDENCE) -> Estimate:
    """The metric itself with its interval; arguments as of `paired_drop`."""
    if found.right_or_wrong:
        return proportion(found.outcome, confidence)
    metric, resamples = over(evaluation, found), _affordable(evaluation, found)
    return paired_bootstrap_difference(metric, lambda index: 0.0, len(found.outcome), resamples=resamples)


def over(evaluation: Evaluation, samples: Samples) -> Callable[[NDArray[np.int64]], float]:
    """The metric over the samples of an index."""
    return metric_of(evaluation.metric).over(samples.outcome, samples.target)


def _affordable(evaluation: Evaluation, found: Samples) -> int:
    """Resamples that copy no more than `COPIED_BYTES` of outcomes in all."""
    if metric_of(evaluation.metric).weighted:
        return RESAMPLES
    return int(np.clip(COPIED_BYTES // max(1, 2 * found.outcome.nbytes), FEWEST_RESAMPLES, RESAMPLES))
