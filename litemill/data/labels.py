"""Turn stored labels into the targets of a task."""

from __future__ import annotations

import numpy as np

from litemill.config.data_kinds import Task
from litemill.data.source import Labels, Samples, Targets
from litemill.errors import InputError


def targets_for(task: Task, stored: Samples | None, samples: int, where: str) -> Targets:
    """Targets of a task.

    Args:
        task: Classification, binary (classes 0 and 1) and reconstruction (1 for an anomaly; may be left out) have class
            indices; regression has numbers.
        stored: As the source has them; None where it has none.
        samples: How many there must be.
        where: How to point a user at them.

    Raises:
        InputError: They don't fit the task.
    """
    if stored is None:
        if task == "reconstruction":
            return np.zeros(samples, np.int64)
        raise InputError(f"has no labels, which task {task} needs", where=where)
    if len(stored) != samples:
        raise InputError(f"has {len(stored)} labels for {samples} samples", where=where)
    if task == "regression":
        return numbers(stored, where)
    labels = class_indices(stored, where)
    if task != "classification" and len(labels) and labels.max() > 1:
        raise InputError(f"has label {labels.max()}, but task {task} knows 0 and 1 only", where=where)
    return labels


def unknown(task: Task, samples: int) -> Targets:
    """Targets of a calibration split without labels: NaN for a regression, else −1."""
    return np.full(samples, np.nan, np.float32) if task == "regression" else np.full(samples, -1, np.int64)


def numbers(stored: Samples, where: str) -> Targets:
    """Numbers to predict, `[samples]` or `[samples, outputs]` float32.

    Raises:
        InputError: Another shape, or values that are not finite.
    """
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if stored.ndim not in (1, 2):
        raise InputError(f"targets have shape {stored.shape}", where=where, fix="Give one number or one row a sample")
    targets = stored.astype(np.float32)
    if not np.isfinite(targets).all():
        raise InputError("has NaN or infinite targets", where=where, fix="Clean the data first")
    return targets


def class_indices(stored: Samples, where: str) -> Labels:
    """Class indices from 0, `[samples]` int64.

    Args:
        stored: `[samples]`, `[samples, 1]` or one-hot `[samples, classes]`, of any number type.
        where: How to point a user at them.

    Raises:
        InputError: Another shape, or values that are no class indices.
    """
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    exact = stored.astype(np.float64)
    if stored.ndim == 2:
        if not (np.isin(exact, (0, 1)).all() and (exact.sum(axis=1) == 1).all()):
            raise InputError(f"labels of shape {stored.shape} are not one-hot", where=where)
        labels: Labels = np.argmax(exact, axis=1).astype(np.int64)
        return labels
    if stored.ndim != 1:
        raise InputError(f"labels have shape {stored.shape}", where=where, fix="Give one class index a sample")
    if not (np.isfinite(exact).all() and np.array_equal(exact, np.round(exact))):
        raise InputError("labels are not whole numbers", where=where, fix="Give class indices from 0")
    labels = stored.astype(np.int64)
    if len(labels) and labels.min() < 0:
        raise InputError(f"has the negative label {labels.min()}", where=where, fix="Give class indices from 0")
    return labels
