"""What a variant's outputs are worth over a split: outcomes of each sample, and from them the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.data.splits import Split
from litemill.errors import StepFailed
from litemill.evidence.sources import DatasetManifest
from litemill.tasks import Breakdown, Outcomes, OutputIs, Reading, merged, metric_of, task_of
from litemill.tasks.numbers import peak_of

Array = NDArray[Any]
Run = Callable[[Array], NDArray[np.float32]]
"""Outputs `[samples, …]` of inputs `[samples, …]`."""

BLOCK_BYTES = 64 << 20
"""Outputs held in memory at a time: those of masks and images are many times larger than the inputs."""


class Score(NamedTuple):
    """The worth of a variant: its outcomes, the metric, and a figure for each class."""

    found: Outcomes
    value: float
    by_class: Breakdown


def score(run: Run, test: Split, data: DatasetManifest, output_is: OutputIs, output_bytes: int) -> Score:
    """Run a model over a split, block by block, and judge it by the data's task and metric.

    Args:
        run: Of the model.
        test: The split.
        data: Says the task and the metric.
        output_is: Whether outputs are logits or probabilities, where the data does not say it.
        output_bytes: Of the outputs for one sample.

    Raises:
        StepFailed: The outputs do not fit the task, or are not finite.
        InputError: The user's own metric cannot be used.
    """
    reading = data.reading(output_is)
    if data.metric == "psnr":
        reading = replace(reading, peak=peak_of(test.y))
    parts = [
        judge(run(test.x[rows]), test.x[rows], test.y[rows], data.task, reading) for rows in _blocks(test, output_bytes)
    ]
    found = merged(parts)
    value = metric_of(data.metric).function()(found.outcome, found.target)
    return Score(found, value, task_of(data.task).breakdown(found, reading))


def judge(outputs: NDArray[np.float32], x: Array, y: Array, task: str, reading: Reading) -> Outcomes:
    """The outcomes of some samples.

    Args:
        outputs: `[samples, …]` float32.
        x: `[samples, …]` the inputs.
        y: `[samples, …]` targets as the task keeps them.
        task: Its name.
        reading: How the outputs are read, and for which metric.

    Raises:
        StepFailed: The outputs do not fit the task, or are not finite.
    """
    broken = ~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
    if broken.any():
        raise StepFailed(f"{int(broken.sum())} samples get outputs that are NaN or Inf")
    found = task_of(task).outcomes(outputs, x, y, reading)
    if metric_of(reading.metric).sees == "outcomes":
        return found
    return found._replace(outcome=outputs, target=np.asarray(x if task_of(task).of_input else y))


def _blocks(test: Split, output_bytes: int) -> Iterator[slice]:
    """Slices of a split whose outputs take about `BLOCK_BYTES`; one where they all do."""
    rows = max(1, BLOCK_BYTES // max(1, output_bytes))
    for start in range(0, len(test), rows):
        yield slice(start, start + rows)
