"""Tasks whose outputs are numbers: `regression` (of any shape), and `reconstruction` of the input."""

from __future__ import annotations

import numpy as np

from litemill.errors import InputError, StepFailed
from litemill.tasks.labels import numbers
from litemill.tasks.samples import check_both, count_labels, zero_or_one
from litemill.tasks.task import NOTHING, Array, Outcomes, Reading, Task

USUAL_PEAKS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Ranges that images usually have; targets that lie in one of them are taken to."""
LEAST_ERROR = 1e-10
"""Mean square error, relative to the square of the peak, below which PSNR rises no more: 100 dB."""


def peak_of(targets: Array) -> float:
    """Largest difference that targets can have: that of the usual range they lie in, else what they span."""
    low, high = float(targets.min()), float(targets.max())
    for start, end in USUAL_PEAKS:
        if start <= low and high <= end:
            return end - start
    return high - low


def errors(outputs: Array, target: Array) -> Array:
    """Differences `[samples, elements]` in float64.

    Raises:
        StepFailed: Outputs and targets have different sizes.
    """
    expected = np.asarray(target, np.float64).reshape(len(outputs), -1)
    found = outputs.reshape(len(outputs), -1)
    if expected.shape != found.shape:
        raise StepFailed(f"the model gives {found.shape[1]} numbers a sample, the data has {expected.shape[1]}")
    return found - expected


def _outcome(error: Array, reading: Reading) -> Array:
    found: Array = (np.abs(error) if reading.metric == "mae" else np.square(error)).mean(axis=1)
    if reading.metric == "psnr":
        found = -10.0 * np.log10(np.maximum(found / reading.peak**2, LEAST_ERROR))
    return found


def _check_spread(train: Array, test: Array, metric: str, where: str) -> None:
    if np.ptp(test, axis=0).max() == 0:
        raise InputError("all test targets are the same, so an error means nothing", where=where)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _regression_obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    found, wanted = _without_ones(shape), _without_ones(reading.target_shape)
    flattened = 1 in (len(found), len(wanted)) and np.prod(found) == np.prod(wanted)
    if found == wanted or flattened:
        return ""
    return f"gives outputs of shape {list(shape)} for targets of shape {list(reading.target_shape)}"


def _regression(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    return Outcomes(_outcome(errors(outputs, y), reading), NOTHING, NOTHING, NOTHING)


REGRESSION = Task(
    name="regression",
    labels="numbers of any shape: one, a row, a map, an image",
    outputs="as many numbers, of the targets' shape",
    dtype=np.float32,
    loss="squared",
    fit=numbers,
    check=_check_spread,
    classes=lambda targets, named: 0,
    counts=lambda targets, classes: [],
    obstacle=_regression_obstacle,
    outcomes=_regression,
    columns=True,
)


def _reconstruction_obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    if shape == reading.input_shape:
        return ""
    return f"gives outputs of shape {list(shape)} for samples of shape {list(reading.input_shape)}"


def _reconstruction(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    outcome = _outcome(errors(outputs, x), reading)
    return Outcomes(outcome, np.asarray(y) if reading.metric == "auc" else NOTHING, NOTHING, NOTHING)


def _check_anomalies(train: Array, test: Array, metric: str, where: str) -> None:
    if metric == "auc":
        check_both(train, test, metric, where)


RECONSTRUCTION = Task(
    name="reconstruction",
    labels="none needed; 1 for an anomaly",
    outputs="numbers of the input's shape",
    dtype=np.int64,
    loss="reconstruction",
    fit=lambda stored, where: zero_or_one(stored, where, "reconstruction"),
    check=_check_anomalies,
    classes=lambda targets, named: 0,
    counts=count_labels,
    obstacle=_reconstruction_obstacle,
    outcomes=_reconstruction,
    optional=True,
    of_input=True,
    strata=True,
)
