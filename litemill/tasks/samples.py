"""Tasks with one class for each sample: `classification` and `binary`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from litemill.errors import InputError, StepFailed
from litemill.tasks.labels import class_indices
from litemill.tasks.task import NOTHING, Array, Breakdown, Outcomes, Reading, Task

TOP = {"top1": 1, "top5": 5}


def count_largest(targets: Sequence[Array], named: int) -> int:
    """As many classes as are named, or the largest label plus one."""
    return max(named, 1 + max(int(target.max()) for target in targets))


def count_labels(targets: Array, classes: int) -> list[int]:
    """How many labels are of each class; those that are not known are of none."""
    found: list[int] = np.bincount(targets[targets >= 0], minlength=classes).tolist()
    return found


def confusion_of(y: Array, prediction: Array, classes: int) -> Array:
    """`[classes, classes]` counts; rows are labels, columns predictions."""
    pairs = np.asarray(y, np.int64) * classes + prediction
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy_by_class(found: Outcomes, reading: Reading) -> Breakdown:
    """Accuracy over the samples of each class, and the confusion matrix."""
    total = found.tally.sum(axis=1)
    values = [
        float(right / count) if count else None for right, count in zip(found.tally.diagonal(), total, strict=True)
    ]
    return Breakdown("accuracy", values, found.tally.tolist())


def _check_classes(train: Array, test: Array, metric: str, where: str) -> None:
    if len(np.unique(np.concatenate([train, test]))) < 2:
        raise InputError("all labels are the same, so accuracy means nothing", where=where)


def _classification_obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    if len(shape) == 1 and shape[0] >= max(reading.classes, 2):
        return ""
    return f"gives outputs of shape {list(shape)} for data with {reading.classes} classes"


def _classification(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    scores = outputs.reshape(len(outputs), -1)
    classes = scores.shape[1]
    if classes < reading.classes:
        raise StepFailed(f"the model has {classes} outputs, the data {reading.classes} classes")
    # The lowest class of equals first, as argmax has it.
    ranked = np.argsort(-scores, axis=1, kind="stable")
    outcome = (ranked[:, : TOP.get(reading.metric, 1)] == np.asarray(y)[:, np.newaxis]).any(axis=1)
    return Outcomes(outcome, NOTHING, ranked[:, 0], confusion_of(y, ranked[:, 0], classes))


def _largest(outputs: Array, reading: Reading) -> Array:
    found: Array = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return found


CLASSIFICATION = Task(
    name="classification",
    labels="class indices from 0, or one-hot",
    outputs="a score for each class",
    dtype=np.int64,
    loss="categorical",
    fit=class_indices,
    check=_check_classes,
    classes=count_largest,
    counts=count_labels,
    obstacle=_classification_obstacle,
    outcomes=_classification,
    decide=_largest,
    breakdown=accuracy_by_class,
    strata=True,
)


def zero_or_one(stored: Array, where: str, task: str = "binary") -> Array:
    """Class indices 0 and 1.

    Raises:
        InputError: Others, or see `class_indices`.
    """
    labels = class_indices(stored, where)
    if len(labels) and labels.max() > 1:
        raise InputError(f"has label {labels.max()}, but task {task} knows 0 and 1 only", where=where)
    return labels


def check_both(train: Array, test: Array, metric: str, where: str) -> None:
    """Refuse test labels of one class.

    Raises:
        InputError: They are.
    """
    if len(np.unique(test)) < 2:
        raise InputError("all test labels are the same, so AUC means nothing", where=where)


def _binary_obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    return "" if shape in ((1,), (2,)) else f"gives outputs of shape {list(shape)} for a binary task, not 1 or 2 scores"


def _score(outputs: Array) -> tuple[Array, bool]:
    """The score of the positive class, and whether it is the difference of two outputs, cut at 0 whatever they are."""
    scores = outputs.reshape(len(outputs), -1)
    if scores.shape[1] not in (1, 2):
        raise StepFailed(f"the model has {scores.shape[1]} outputs, a binary task one or two")
    return (scores[:, 0], False) if scores.shape[1] == 1 else (scores[:, 1] - scores[:, 0], True)


def _binary(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    score, _ = _score(outputs)
    prediction = _decide_binary(outputs, reading)
    tally = confusion_of(y, prediction, 2)
    if reading.metric == "auc":
        return Outcomes(score, np.asarray(y), prediction, tally)
    return Outcomes(prediction == y, NOTHING, prediction, tally)


def _decide_binary(outputs: Array, reading: Reading) -> Array:
    score, difference = _score(outputs)
    return (score > (0.0 if difference else reading.cut)).astype(np.int64)


BINARY = Task(
    name="binary",
    labels="0 and 1",
    outputs="one score (a probability, or a logit), or two",
    dtype=np.int64,
    loss="binary",
    fit=zero_or_one,
    check=check_both,
    classes=lambda targets, named: 2,
    counts=count_labels,
    obstacle=_binary_obstacle,
    outcomes=_binary,
    decide=_decide_binary,
    breakdown=accuracy_by_class,
    strata=True,
)
