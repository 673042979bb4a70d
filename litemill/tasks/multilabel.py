"""The task `multilabel`: any number of the labels may be true of a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from litemill.errors import InputError, StepFailed
from litemill.tasks.by_class import AVERAGE_PRECISION, F1
from litemill.tasks.labels import several_labels
from litemill.tasks.scores import average_precisions
from litemill.tasks.task import NOTHING, Array, Breakdown, Outcomes, Reading, Task


def _scores(outputs: Array) -> Array:
    return outputs.reshape(len(outputs), -1)


def _decide(outputs: Array, reading: Reading) -> Array:
    return (_scores(outputs) > reading.cut).astype(np.int8)


def _obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    if len(shape) == 1 and shape[0] == reading.classes:
        return ""
    return f"gives outputs of shape {list(shape)} for data with {reading.classes} labels"


def _outcomes(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    """For `map` the scores beside the labels; else of each label whether it is right, true, and decided.

    The tally counts, for each label, samples that are rightly found, that have it, and that are given it.
    """
    scores, labels = _scores(outputs), np.asarray(y)
    if scores.shape != labels.shape:
        raise StepFailed(f"the model has {scores.shape[1]} outputs, the data {labels.shape[1]} labels")
    found, known = _decide(outputs, reading), labels >= 0
    true, given = known & (labels > 0), known & (found > 0)
    counts = np.stack([true & given, true, given], axis=1).astype(np.int64)
    tally = counts.sum(axis=0)
    if reading.metric == "map":
        return Outcomes(scores, labels, found, tally)
    if reading.metric == "accuracy":
        right = (known & (found == labels)).sum(axis=1)
        return Outcomes(np.stack([right, known.sum(axis=1)], axis=1), NOTHING, found, tally)
    return Outcomes(counts, NOTHING, found, tally)


def _breakdown(found: Outcomes, reading: Reading) -> Breakdown:
    """Average precision of each label where that is the metric, else F1."""
    if reading.metric == "map":
        values = average_precisions(found.outcome, found.target)(np.ones(len(found.outcome), np.int64))
        return Breakdown("average precision", [None if np.isnan(value) else float(value) for value in values], [])
    right, total = found.tally[0], found.tally[1] + found.tally[2]
    return Breakdown("f1", [float(2 * r / t) if t else None for r, t in zip(right, total, strict=True)], [])


def _check(train: Array, test: Array, metric: str, where: str) -> None:
    if not (test > 0).any() or not (test == 0).any():
        what = "all test labels are the same, so no score means anything"
        raise InputError(what, where=where)


def _classes(targets: Sequence[Array], named: int) -> int:
    return max([named, *(int(target.shape[1]) for target in targets if target.ndim == 2)])


def _counts(targets: Array, classes: int) -> list[int]:
    found: list[int] = (targets > 0).reshape(len(targets), -1).sum(axis=0).tolist()
    return found if targets.ndim == 2 else [0] * classes


MULTILABEL = Task(
    name="multilabel",
    labels="a row of 0 and 1, one column for each label (−1 is not known)",
    outputs="a score for each label (a probability, or a logit)",
    dtype=np.int8,
    loss="labels",
    fit=several_labels,
    check=_check,
    classes=_classes,
    counts=_counts,
    obstacle=_obstacle,
    outcomes=_outcomes,
    decide=_decide,
    breakdown=_breakdown,
    class_figures={"map": AVERAGE_PRECISION, "f1": F1},
    columns=True,
)
