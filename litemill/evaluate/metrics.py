"""What a model's outputs are worth against the targets, by task and metric.

Each sample gets an outcome and a target, such that a metric is a function of both over any selection of samples: that
is what a paired interval resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from litemill.config.data_kinds import METRICS
from litemill.errors import InputError, StepFailed
from litemill.evidence import DatasetManifest

Array = NDArray[Any]
Metric = Callable[[Array, Array], float]
TOP = {"top1": 1, "top5": 5}


class Judgement(NamedTuple):
    """What was found for the samples of a split."""

    outcome: Array
    """What the metric is computed from: right or wrong, an error, a score, or the outputs themselves."""
    target: Array
    """The label or target of each sample; empty where the outcome says it all."""
    prediction: Array
    """`[samples]` class; empty for tasks without classes."""
    per_class: list[float]
    """Accuracy over the samples of each class; 0 for a class without samples."""
    confusion: list[list[int]]
    """Rows are labels, columns predictions."""


def area_under_curve(score: Array, label: Array) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half (Mann-Whitney).

    Args:
        score: `[samples]`, larger for positives.
        label: `[samples]`, 1 for positives and 0 for negatives.

    Raises:
        StepFailed: One of the classes has no samples.
    """
    positive = label > 0
    count = int(positive.sum())
    if not 0 < count < len(label):
        raise StepFailed("auc needs samples of both classes")
    ranks = stats.rankdata(score)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(label) - count)))


def _mean(outcome: Array, target: Array) -> float:
    return float(np.mean(outcome))


PROPORTIONS = frozenset({"top1", "top5", "accuracy"})
"""Metrics that are a fraction of samples: their differences have an exact method."""

FUNCTIONS: dict[str, Metric] = {
    "top1": _mean,
    "top5": _mean,
    "accuracy": _mean,
    "mae": _mean,
    "mse": _mean,
    "rmse": lambda outcome, target: float(np.sqrt(np.mean(outcome))),
    "auc": area_under_curve,
}
"""Metric of outcomes and targets, by name; those of `litemill.config.data_kinds.METRICS`."""


def metric_function(name: str) -> Metric:
    """The function of a metric: ours, or the user's own `package.module:function` of outputs and targets.

    Raises:
        InputError: There is no such function.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    from litemill.data.python import load_function

    own = load_function(name)

    def call(outcome: Array, target: Array) -> float:
        try:
            return float(own(outcome, target))
        except Exception as error:
            raise InputError(f"failed: {type(error).__name__}: {error}", where=name) from error

    return call


def higher_is_better(data: DatasetManifest) -> bool:
    """Whether more of the data's metric is better; of a user's own function it is."""
    return METRICS[data.task].get(data.metric, True)


def judge(outputs: NDArray[np.float32], x: Array, y: Array, data: DatasetManifest) -> Judgement:
    """Judge the outputs for a split.

    Args:
        outputs: `[samples, …]` float32.
        x: `[samples, …]` the inputs, which are the targets of a reconstruction.
        y: `[samples]` classes, or `[samples, *target_shape]` numbers for regression.
        data: Says the task, the metric and the number of classes.

    Raises:
        StepFailed: The outputs do not fit the task, or are not finite.
    """
    broken = ~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
    if broken.any():
        raise StepFailed(f"{int(broken.sum())} samples get outputs that are NaN or Inf")
    found = _JUDGES[data.task](outputs, x, y, data)
    if data.metric in FUNCTIONS:
        return found
    return found._replace(outcome=outputs, target=np.asarray(x if data.task == "reconstruction" else y))


def _classification(outputs: Array, x: Array, y: Array, data: DatasetManifest) -> Judgement:
    scores = outputs.reshape(len(outputs), -1)
    if scores.shape[1] != data.classes:
        raise StepFailed(f"the model has {scores.shape[1]} outputs, the data {data.classes} classes")
    # The lowest class of equals first, as argmax has it.
    ranked = np.argsort(-scores, axis=1, kind="stable")
    outcome = (ranked[:, : TOP.get(data.metric, 1)] == np.asarray(y)[:, np.newaxis]).any(axis=1)
    return _classes(outcome, ranked[:, 0], y, data.classes)


def _binary(outputs: Array, x: Array, y: Array, data: DatasetManifest) -> Judgement:
    scores = outputs.reshape(len(outputs), -1)
    if scores.shape[1] not in (1, 2):
        raise StepFailed(f"the model has {scores.shape[1]} outputs, a binary task one or two")
    score = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
    prediction = (score > (0.5 if scores.shape[1] == 1 else 0.0)).astype(np.int64)
    found = _classes(prediction == y, prediction, y, 2)
    return found._replace(outcome=score, target=np.asarray(y)) if data.metric == "auc" else found


def _classes(outcome: Array, prediction: Array, y: Array, classes: int) -> Judgement:
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y, prediction), 1)
    per_class = confusion.diagonal() / np.maximum(confusion.sum(axis=1), 1)
    return Judgement(outcome, np.empty(0), prediction, per_class.tolist(), confusion.tolist())


def _regression(outputs: Array, x: Array, y: Array, data: DatasetManifest) -> Judgement:
    error = _errors(outputs, y)
    outcome = np.abs(error).mean(axis=1) if data.metric == "mae" else np.square(error).mean(axis=1)
    return Judgement(outcome, np.empty(0), np.empty(0, np.int64), [], [])


def _reconstruction(outputs: Array, x: Array, y: Array, data: DatasetManifest) -> Judgement:
    outcome = np.square(_errors(outputs, x)).mean(axis=1)
    target = np.asarray(y) if data.metric == "auc" else np.empty(0)
    return Judgement(outcome, target, np.empty(0, np.int64), [], [])


def _errors(outputs: Array, target: Array) -> Array:
    """Differences `[samples, elements]` in float64."""
    expected = np.asarray(target, np.float64).reshape(len(outputs), -1)
    found = outputs.reshape(len(outputs), -1)
    if expected.shape != found.shape:
        raise StepFailed(f"the model gives {found.shape[1]} numbers a sample, the data has {expected.shape[1]}")
    return found - expected


_JUDGES: dict[str, Callable[[Array, Array, Array, DatasetManifest], Judgement]] = {
    "classification": _classification,
    "binary": _binary,
    "regression": _regression,
    "reconstruction": _reconstruction,
}
