"""Tasks with a class for each position of a sample: `segmentation` (pixels) and `sequence` (time steps)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from litemill.errors import InputError, StepFailed
from litemill.tasks.by_class import F1, IOU
from litemill.tasks.labels import position_classes
from litemill.tasks.task import NOTHING, UNKNOWN, Array, Breakdown, Outcomes, Reading, Task

WHITE = 255
"""What yes looks like in masks that are images, and what is not judged in Pascal VOC's and Cityscapes'."""


def settle(targets: Sequence[Array], ignored: int | None, where: str) -> list[Array]:
    """Give the label that is not judged −1, and masks of nothing but 0 and 255 the classes 0 and 1.

    Raises:
        InputError: 255 is a label beside classes, and nothing says what it means.
    """
    found = [np.where(part == ignored, np.int16(UNKNOWN), part) if ignored is not None else part for part in targets]
    known = sorted({int(label) for part in found for label in np.unique(part)} - {UNKNOWN})
    if known[-1:] == [WHITE] and set(known) <= {0, WHITE}:
        return [np.where(part == WHITE, np.int16(1), part) for part in found]
    if WHITE in known and WHITE - 1 not in known:
        fix = f"Set data.ignore_label: {WHITE} if these positions are not to be judged"
        raise InputError(f"has the label {WHITE} beside classes up to {known[-2]}", where=where, fix=fix)
    return found


def count_position_classes(targets: Sequence[Array], named: int) -> int:
    """As many classes as are named, or the largest label plus one; at least two."""
    return max(named, 2, 1 + max(int(target.max(initial=0)) for target in targets))


def count_positions(targets: Array, classes: int) -> list[int]:
    """How many positions are of each class."""
    found = np.zeros(classes, np.int64)
    for rows in np.array_split(targets, max(1, targets.size >> 24)):  # bincount makes int64 of all it gets
        found += np.bincount(rows[rows >= 0], minlength=classes)
    return [int(count) for count in found]


def scores_of(outputs: Array, positions: tuple[int, ...]) -> Array:
    """Outputs as `[samples, *positions, channels]`.

    Raises:
        StepFailed: They have no score for each position.
    """
    if outputs.shape[1:] == positions:
        return outputs[..., np.newaxis]
    if outputs.shape[1:-1] != positions:
        raise StepFailed(f"the model gives outputs of shape {list(outputs.shape[1:])} for targets of {list(positions)}")
    return outputs


def decide_positions(outputs: Array, reading: Reading, *, axes: int) -> Array:
    """The class of each position: that of the largest score, or the side of the cut of a single one."""
    scores = outputs[..., np.newaxis] if outputs.ndim == axes + 1 else outputs
    classes = scores[..., 0] > reading.cut if scores.shape[-1] == 1 else scores.argmax(axis=-1)
    return classes.astype(np.uint8 if scores.shape[-1] <= 256 else np.uint16)


def obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    """Why outputs of that shape give no class for each position; else empty."""
    positions = reading.target_shape
    channels = 1 if shape == positions else shape[-1] if shape and shape[:-1] == positions else 0
    if not channels:
        return f"gives outputs of shape {list(shape)} for targets of shape {list(positions)}"
    known = 2 if channels == 1 else channels
    if known < reading.classes:
        return f"gives {channels} score{'s' * (channels > 1)} for each position, the data has {reading.classes} classes"
    return ""


def outcomes(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    """Of each sample: for accuracy how many positions are right, of how many; else intersection, labels and decisions.

    Positions of class −1 count for nothing. The tally is a confusion matrix over the positions.
    """
    scores = scores_of(outputs, y.shape[1:])
    classes = max(2, scores.shape[-1])
    if classes < reading.classes:
        raise StepFailed(f"the model gives {scores.shape[-1]} scores, the data has {reading.classes} classes")
    found = decide_positions(scores, reading, axes=y.ndim - 1)
    labels, decided = np.asarray(y).reshape(len(y), -1), found.reshape(len(y), -1)
    tables = np.stack([_table(label, one, classes) for label, one in zip(labels, decided, strict=True)])
    right, wanted, given = np.einsum("ncc->nc", tables), tables.sum(axis=2), tables.sum(axis=1)
    if reading.metric == "accuracy":
        outcome = np.stack([right.sum(axis=1), wanted.sum(axis=1)], axis=1)
    else:
        outcome = np.stack([right, wanted, given], axis=1)
    return Outcomes(outcome, NOTHING, found, tables.sum(axis=0))


def _table(labels: Array, decided: Array, classes: int) -> Array:
    """Confusion matrix of one sample over its judged positions."""
    judged = labels >= 0
    pairs = labels[judged].astype(np.int64) * classes + decided[judged]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def figure_by_class(found: Outcomes, reading: Reading, *, figure: Literal["iou", "f1"]) -> Breakdown:
    """Intersection over union or F1 of each class, and the confusion matrix over the positions."""
    right, total = found.tally.diagonal(), found.tally.sum(axis=1) + found.tally.sum(axis=0)
    part, whole = (right, total - right) if figure == "iou" else (2 * right, total)
    values = [float(p / w) if w else None for p, w in zip(part, whole, strict=True)]
    return Breakdown(figure, values, found.tally.tolist())


def _check(train: Array, test: Array, metric: str, where: str) -> None:
    if test.max(initial=-1) < 0:
        raise InputError("no position of the test targets is judged: all are −1", where=where)
    known = {int(label) for part in (train, test) for label in np.unique(part)} - {-1}
    if len(known) < 2:
        raise InputError("all labels are the same, so no score means anything", where=where)


SEGMENTATION = Task(
    name="segmentation",
    labels="a mask: a class index for each pixel (−1 is not judged), or one-hot",
    outputs="a score for each class at each pixel, or one (a probability, or a logit) for two classes",
    dtype=np.int16,
    loss="positions",
    fit=lambda stored, where: position_classes(stored, where, axes=2),
    check=_check,
    classes=count_position_classes,
    counts=count_positions,
    obstacle=obstacle,
    outcomes=outcomes,
    decide=partial(decide_positions, axes=2),
    breakdown=partial(figure_by_class, figure="iou"),
    class_figures={"miou": IOU, "f1": IOU},
    positions=2,
    settle=settle,
)

SEQUENCE = Task(
    name="sequence",
    labels="a class index for each time step (−1 is not judged), or one-hot",
    outputs="a score for each class at each step, or one (a probability, or a logit) for two classes",
    dtype=np.int16,
    loss="positions",
    fit=lambda stored, where: position_classes(stored, where, axes=1),
    check=_check,
    classes=count_position_classes,
    counts=count_positions,
    obstacle=obstacle,
    outcomes=outcomes,
    decide=partial(decide_positions, axes=1),
    breakdown=partial(figure_by_class, figure="f1"),
    class_figures={"f1": F1},
    positions=1,
    settle=settle,
)
