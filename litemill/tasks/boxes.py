"""Boxes in the outputs of a detector: which numbers are what, and from them the detections of each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Format = Literal["xyxy", "yxyx", "cxcywh"]
Activation = Literal["none", "sigmoid", "softmax"]
Suppression = Literal["class", "all", "graph"]

CORNERS = 4
PARTS = 6
"""Numbers of a detection: two corners, its score and its class."""
MOST_DETECTIONS = 100
"""Of a sample that are judged, as COCO has it."""
MOST_CANDIDATES = 1000
"""Of a sample, those with the highest scores, among which neighbours are suppressed."""


@dataclass(frozen=True)
class BoxLayout:
    """What the numbers in a detector's output are: `[samples, rows, columns]`, of several outputs side by side.

    Attributes:
        boxes: Columns of the four numbers of a box.
        scores: Columns of the scores, one for each class; empty for all columns that are nothing else.
        objectness: Column of the score that there is an object at all; −1 for none.
        classes: Column of the class; −1 where each class has a score of its own.
        format: What the four numbers are: the corners, or the centre and the size.
        scale: Factors of x and y that bring boxes to the unit of the targets.
        activation: What makes probabilities of the scores.
        background: Whether the first score is that of no object.
        rows_last: Whether the output is `[samples, columns, rows]`.
        suppression: Whether a box suppresses its neighbours of the same class or all of them, or the graph did so.
        overlap: Intersection over union from which on a box is suppressed.
        least_score: Of a detection.
        most: Detections of a sample.
    """

    boxes: tuple[int, ...] = (0, 1, 2, 3)
    scores: tuple[int, ...] = ()
    objectness: int = -1
    classes: int = -1
    format: Format = "xyxy"
    scale: tuple[float, float] = (1.0, 1.0)
    activation: Activation = "none"
    background: bool = False
    rows_last: bool = False
    suppression: Suppression = "class"
    overlap: float = 0.5
    least_score: float = 0.01
    most: int = MOST_DETECTIONS

    def score_columns(self, width: int) -> list[int]:
        """Columns of the scores in an output of that many columns."""
        taken = {*self.boxes, self.objectness, self.classes}
        return list(self.scores) or [column for column in range(width) if column not in taken]

    def size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns in the output of a sample, of shape `[rows, columns]`."""
        return (shape[1], shape[0]) if self.rows_last else (shape[0], shape[1])

    def obstacle(self, shape: tuple[int, ...], classes: int) -> str:
        """Why an output of that shape cannot be read so, beside data with so many classes; else empty."""
        if len(shape) != 2:
            return f"gives outputs of shape {list(shape)}, boxes need [rows, columns]"
        width = self.size(shape)[1]
        last = max(*self.boxes, *self.scores, self.objectness, self.classes)
        if last >= width:
            return f"gives boxes of {width} columns, data.detection names column {last}"
        scores = len(self.score_columns(width)) - self.background
        if scores < 1:
            return f"gives boxes of {width} columns, which leaves none for the scores"
        if self.classes < 0 and scores < classes:
            return f"gives {scores} score{'s' * (scores > 1)} for each box, the data has {classes} classes"
        return ""


def detections(outputs: Array, layout: BoxLayout) -> Array:
    """The detections in a detector's outputs, neighbours suppressed, the highest scores first.

    Args:
        outputs: `[samples, rows, columns]` (or the other way around, as the layout says).
        layout: What the columns are.

    Returns:
        float32 `[samples, most, 6]`: x and y of the corners, least first, the score and the class; −1 as the class of
        what is not there.
    """
    rows = np.swapaxes(outputs, 1, 2) if layout.rows_last else outputs
    found = np.zeros((len(rows), layout.most, PARTS), np.float32)
    found[..., -1] = -1
    for place, sample in enumerate(rows):
        kept = _of_sample(np.asarray(sample, np.float64), layout)
        found[place, : len(kept)] = kept
    return found


def _of_sample(rows: Array, layout: BoxLayout) -> Array:
    corners = as_corners(rows[:, list(layout.boxes)], layout.format) * np.tile(layout.scale, 2)
    scores = _probabilities(rows[:, layout.score_columns(rows.shape[1])], layout)
    if layout.objectness >= 0:
        objects = rows[:, layout.objectness]
        scores = scores * (objects if layout.activation == "none" else _sigmoid(objects))[:, np.newaxis]
    if layout.classes >= 0:
        box, score = np.arange(len(rows)), scores.max(axis=1)
        classes: Array = np.round(rows[:, layout.classes])
    else:
        box, classes = (found.ravel() for found in np.indices(scores.shape))
        score = scores.ravel()
    # A score of 0 is that of a row which an operation in the graph filled up with nothing.
    likely = np.flatnonzero((score >= layout.least_score) & (score > 0))
    likely = likely[np.argsort(-score[likely], kind="stable")][:MOST_CANDIDATES]
    found = np.concatenate([corners[box[likely]], score[likely, np.newaxis], classes[likely, np.newaxis]], axis=1)
    kept = found if layout.suppression == "graph" else found[suppressed(found, layout)]
    return kept[: layout.most]


def _probabilities(scores: Array, layout: BoxLayout) -> Array:
    """Scores between 0 and 1 of the classes, without that of no object."""
    if layout.activation == "sigmoid":
        scores = _sigmoid(scores)
    elif layout.activation == "softmax":
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = raised / raised.sum(axis=1, keepdims=True)
    return scores[:, int(layout.background) :]


def _sigmoid(values: Array) -> Array:
    found: Array = 1.0 / (1.0 + np.exp(-np.clip(values, -500.0, 500.0)))
    return found


def as_corners(boxes: Array, form: Format) -> Array:
    """Boxes `[rows, 4]` as x and y of the upper left and the lower right corner."""
    if form == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if form == "cxcywh":
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of each box of `[n, 4]` with each of `[m, 4]`, as corners: `[n, m]`."""
    low = np.maximum(first[:, np.newaxis, :2], second[np.newaxis, :, :2])
    high = np.minimum(first[:, np.newaxis, 2:], second[np.newaxis, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(one[:, 2:] - one[:, :2], 0, None), axis=1) for one in (first, second)]
    union = areas[0][:, np.newaxis] + areas[1] - shared
    found: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def suppressed(found: Array, layout: BoxLayout) -> list[int]:
    """Rows of detections (highest score first) that no better one overlaps too much: greedy suppression.

    Args:
        found: `[rows, 6]` as `detections` gives them.
        layout: Says what suppresses what, from which overlap on, and how many are kept.
    """
    kept: list[int] = []
    alive = np.ones(len(found), bool)
    for row in range(len(found)):
        if not alive[row]:
            continue
        kept.append(row)
        if len(kept) == layout.most:
            break
        near = overlaps(found[row : row + 1, :CORNERS], found[row + 1 :, :CORNERS])[0] > layout.overlap
        if layout.suppression == "class":
            near &= found[row + 1 :, -1] == found[row, -1]
        alive[row + 1 :] &= ~near
    return kept
