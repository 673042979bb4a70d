"""The task `detection`: boxes with a class, any number of them in a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from litemill.errors import InputError, StepFailed
from litemill.tasks.boxes import CORNERS, BoxLayout, detections, overlaps
from litemill.tasks.detected import ALL, HALF, average_precisions, judged
from litemill.tasks.labels import MOST_CLASSES
from litemill.tasks.task import NOTHING, UNKNOWN, Alike, Array, Breakdown, Outcomes, Reading, Task

COLUMNS = CORNERS + 1
"""Numbers of a target: x and y of two corners, and the class."""
FORM = "Give [boxes, 5] for each sample: x_min, y_min, x_max, y_max, class; rows of class −1 fill up"
ALIKE = 0.5
"""Overlap from which on two models found the same box."""


def _fit(stored: Array, where: str) -> Array:
    """Boxes as `[samples, boxes, 5]` float32, those of class −1 zeros.

    Raises:
        InputError: Another shape, or a box that is none, with its sample.
    """
    if stored.dtype.kind not in "buif":
        raise InputError(f"boxes are {stored.dtype}, not numbers", where=where, fix=FORM)
    if stored.ndim != 3 or stored.shape[2] != COLUMNS:
        what = f"has targets of shape {list(stored.shape[1:])}, task detection needs [boxes, {COLUMNS}]"
        raise InputError(what, where=where, fix=FORM)
    targets: Array = stored.astype(np.float32)
    broken: Array
    if not np.isfinite(targets).all():
        broken = np.asarray(~np.isfinite(targets).all(axis=2))
        raise InputError(f"has NaN or infinite boxes{_first(broken)}", where=where, fix=FORM)
    labels = targets[..., -1]
    broken = (labels != np.round(labels)) | (labels < UNKNOWN) | (labels >= MOST_CLASSES)
    if broken.any():
        what = f"has a class of {labels[broken][0]:g}{_first(broken)}"
        raise InputError(what, where=where, fix=f"Classes are whole numbers from 0. {FORM}")
    real = labels >= 0
    size = targets[..., 2:CORNERS] - targets[..., :2]
    broken = real & (size <= 0).any(axis=2)
    if broken.any():
        what = f"has a box without width or height: {targets[broken][0, :CORNERS].tolist()}{_first(broken)}"
        raise InputError(what, where=where, fix=FORM)
    targets[~real] = (0, 0, 0, 0, UNKNOWN)
    return targets


def _first(broken: Array) -> str:
    sample, box = np.argwhere(broken)[0]
    return f" (sample {sample}, box {box})"


def _settle(targets: Sequence[Array], ignored: int | None, where: str) -> list[Array]:
    """As many rows in all splits; a calibration split may have no boxes at all."""
    most = max(part.shape[1] for part in targets if part.ndim == 3)
    found = []
    for part in targets:
        filled = np.zeros((len(part), most, COLUMNS), np.float32)
        filled[..., -1] = UNKNOWN
        if part.ndim == 3:
            filled[:, : part.shape[1]] = part
        found.append(filled)
    return found


def _check(train: Array, test: Array, metric: str, where: str) -> None:
    for name, part in (("train", train), ("test", test)):
        if part.max(initial=UNKNOWN, where=np.arange(COLUMNS) == COLUMNS - 1) < 0:
            raise InputError(f"the {name} targets have no box: all are of class −1", where=where, fix=FORM)


def _classes(targets: Sequence[Array], named: int) -> int:
    return max(named, 1 + max(int(part[..., -1].max(initial=-1)) for part in targets))


def _counts(targets: Array, classes: int) -> list[int]:
    labels = targets[..., -1].astype(np.int64).ravel()
    return [int(count) for count in np.bincount(labels[labels >= 0], minlength=classes)]


def _layout(reading: Reading) -> BoxLayout:
    return reading.boxes or BoxLayout()


def _obstacle(shape: tuple[int, ...], reading: Reading) -> str:
    return _layout(reading).obstacle(shape, reading.classes)


def _decide(outputs: Array, reading: Reading) -> Array:
    if obstacle := _layout(reading).obstacle(outputs.shape[1:], 0):
        raise StepFailed(f"the model {obstacle}")
    return detections(outputs, _layout(reading))


def _outcomes(outputs: Array, x: Array, y: Array, reading: Reading) -> Outcomes:
    """Which detections are right, beside the classes of the targets; the tally counts these."""
    if obstacle := _obstacle(outputs.shape[1:], reading):
        raise StepFailed(f"the model {obstacle}")
    found, targets = detections(outputs, _layout(reading)), np.asarray(y)
    return Outcomes(judged(found, targets), targets[..., -1].astype(np.int64), found, NOTHING)


def _breakdown(found: Outcomes, reading: Reading) -> Breakdown:
    thresholds = HALF if reading.metric == "map50" else ALL
    values = average_precisions(found.outcome, found.target, thresholds)(np.ones(len(found.outcome), np.int64))
    return Breakdown("average precision", [None if np.isnan(value) else float(value) for value in values], [])


def alike(found: Array, expected: Array) -> Alike:
    """How far two models found the same boxes, each counted by its score: F1 (Dice) weighted by confidence.

    A box is the same if one of the same class overlaps it by half; of the pair's scores the smaller one counts.

    Args:
        found: `[samples, most, 6]` detections.
        expected: The same of the other model.
    """
    same = np.zeros(len(found))
    for sample, (mine, its) in enumerate(zip(found, expected, strict=True)):
        mine, its = (part[part[:, -1] >= 0].astype(np.float64) for part in (mine, its))
        shared = overlaps(mine[:, :CORNERS], its[:, :CORNERS])
        shared[mine[:, -1:] != its[:, -1]] = 0.0
        for row in range(len(mine)):
            best = int(shared[row].argmax()) if len(its) else 0
            if len(its) and shared[row, best] >= ALIKE:
                same[sample] += min(mine[row, CORNERS], its[best, CORNERS])
                shared[:, best] = 0.0
    scores = (part[..., CORNERS].astype(np.float64) * (part[..., -1] >= 0) for part in (found, expected))
    return 2 * same, np.asarray(sum(part.sum(axis=1) for part in scores))


DETECTION = Task(
    name="detection",
    labels="boxes: rows of x_min, y_min, x_max, y_max, class for each sample, filled up with rows of class −1",
    outputs="rows of boxes and scores, in the columns or outputs that data.detection names",
    dtype=np.float32,
    loss="source",
    fit=_fit,
    check=_check,
    classes=_classes,
    counts=_counts,
    obstacle=_obstacle,
    outcomes=_outcomes,
    decide=_decide,
    breakdown=_breakdown,
    columns=True,
    alike=alike,
    labelled=False,
    settle=_settle,
)
