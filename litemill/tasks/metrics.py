"""The metrics: one record each, ours and those of other packages (entry points of the group `litemill.metrics`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError, first_line
from litemill.plugins import Registry, load_function
from litemill.tasks.task import Array

Compute = Callable[[Array, Array], float]
"""A metric of outcomes (or outputs) and targets, `[samples, …]` each."""
Weighted = Callable[[Array, Array], Callable[[NDArray[np.int64]], float]]
"""Of outcomes and targets: a function that gives the metric over samples that each count so often."""

SCORES = "litemill.tasks.scores"
DETECTED = "litemill.tasks.detected"


@dataclass(frozen=True)
class Metric:
    """A figure that variants are judged by.

    Attributes:
        name: As `data.metric` has it.
        tasks: The tasks it is a metric of. The first record of a task is the task's default.
        higher_is_better: Whether more is better.
        compute: `package.module:function` of outcomes and targets (`Compute`).
        summary: What it is, for the reader.
        sees: Whether the function gets what the task makes of each sample (`outcomes`, see `Task.outcomes`), or the
            outputs of the model and the targets of the data as they are.
        weighted: `package.module:function` (`Weighted`) that makes resampling fast; by default samples are repeated.
        fraction: Whether it is between 0 and 1, so that a larger drop was meant as per cent.
    """

    name: str
    tasks: tuple[str, ...]
    higher_is_better: bool
    compute: str
    summary: str = ""
    sees: Literal["outcomes", "outputs"] = "outputs"
    weighted: str = ""
    fraction: bool = False

    def function(self) -> Compute:
        """The function.

        Raises:
            InputError: There is none of that name. What the function itself raises becomes one too.
        """
        found = load_function(self.compute)
        if self.sees == "outcomes":
            return cast(Compute, found)

        def call(outputs: Array, targets: Array) -> float:
            try:
                return float(found(outputs, targets))
            except Exception as error:  # whatever another's function does
                raise InputError(f"failed: {type(error).__name__}: {first_line(error)}", where=self.compute) from error

        return call

    def over(self, outcome: Array, target: Array) -> Callable[[NDArray[np.int64]], float]:
        """The metric over the samples of an index, some of them repeated."""
        samples = len(outcome)
        if self.weighted:
            weighted = cast(Weighted, load_function(self.weighted))(outcome, target)
            return lambda index: weighted(np.bincount(index, minlength=samples))
        function = self.function()
        return lambda index: function(outcome[index], target[index] if len(target) else target)


def _fraction(name: str, tasks: str, compute: str, what: str, *, weighted: str = "") -> Metric:
    """A metric between 0 and 1 of which more is better."""
    return replace(
        _number(name, tasks, compute, what, higher=True),
        fraction=True,
        weighted=f"{SCORES}:{weighted}" * bool(weighted),
    )


def _number(name: str, tasks: str, compute: str, what: str, *, higher: bool = False) -> Metric:
    return Metric(name, tuple(tasks.split()), higher, f"{SCORES}:{compute}", what, sees="outcomes")


def _detected(name: str, compute: str, what: str) -> Metric:
    """A metric of detections: COCO's definition."""
    found = _fraction(name, "detection", compute, what)
    return replace(found, compute=f"{DETECTED}:{compute}", weighted=f"{DETECTED}:weighted_{compute}")


METRICS: Registry[Metric] = Registry(
    "metric",
    "litemill.metrics",
    Metric,
    (
        _fraction("top1", "classification", "share", "share of samples whose class has the highest score"),
        _fraction("top5", "classification", "share", "share of samples whose class is among the five highest scores"),
        _number("mse", "reconstruction", "mean", "mean square error"),
        _fraction("auc", "binary reconstruction", "area_under_curve", "area under the ROC curve"),
        _number("mae", "regression", "mean", "mean absolute error"),
        _number("rmse", "regression", "root_mean", "root of the mean square error"),
        _number("psnr", "regression", "mean", "peak signal-to-noise ratio in dB, mean over the samples", higher=True),
        _fraction(
            "map",
            "multilabel",
            "mean_average_precision",
            "mean over the labels of the average precision",
            weighted="weighted_average_precision",
        ),
        _detected("map50_95", "over_all", "mean over the classes and overlaps of .5 to .95 of the average precision"),
        _detected("map50", "at_half", "mean over the classes of the average precision at an overlap of .5"),
        _fraction(
            "miou",
            "segmentation",
            "mean_overlap",
            "mean over the classes of intersection over union",
            weighted="weighted_overlap",
        ),
        _fraction(
            "accuracy",
            "binary multilabel segmentation sequence",
            "share",
            "share of decisions (samples, labels, pixels, steps) that are right",
            weighted="weighted_share",
        ),
        _fraction(
            "f1",
            "multilabel segmentation sequence",
            "mean_f1",
            "mean over the classes or labels of F1 (of masks: Dice)",
            weighted="weighted_f1",
        ),
    ),
)
"""All metrics by name; the first of a task is its default."""


def metric_names(task: str) -> list[str]:
    """Names of the metrics of a task, its default first."""
    return [metric.name for metric in METRICS.records() if task in metric.tasks]


def default_metric(task: str) -> str:
    """The metric a task is judged by where the config names none."""
    return metric_names(task)[0]


def metric_of(name: str) -> Metric:
    """A metric by its name; a `package.module:function` is one of the user's own, of which more is better.

    Raises:
        ConfigError: There is no such metric.
    """
    if ":" in name:
        return Metric(name, (), higher_is_better=True, compute=name)
    return METRICS[name]
