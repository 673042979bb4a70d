"""What stored targets may look like: class indices, masks, several labels, numbers. Each as it is kept on disk."""

from __future__ import annotations

import numpy as np

from litemill.errors import InputError
from litemill.tasks.task import UNKNOWN, Array

MOST_POSITION_CLASSES = np.iinfo(np.int16).max
"""Classes of pixels and time steps are kept as int16: there are many more of them than samples."""
MOST_CLASSES = 100_000
"""Classes of samples: counts and confusions are kept for each, so a label may not say how much memory is taken."""


def numbers(stored: Array, where: str) -> Array:
    """Numbers to predict, of any shape: float32 `[samples, …]`; `[samples, 1]` becomes `[samples]`.

    Raises:
        InputError: They are no numbers, or some are not finite.
    """
    if stored.dtype.kind not in "buif":
        raise InputError(f"targets are {stored.dtype}, not numbers", where=where)
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if 0 in stored.shape[1:]:
        raise InputError(f"targets have shape {list(stored.shape[1:])}: they hold nothing", where=where)
    targets = stored.astype(np.float32)
    if not np.isfinite(targets).all():
        raise InputError("has NaN or infinite targets", where=where, fix="Clean the data first")
    return targets


def class_indices(stored: Array, where: str) -> Array:
    """Class indices from 0, `[samples]` int64.

    Args:
        stored: `[samples]`, `[samples, 1]` or one-hot `[samples, classes]`, of any number type.
        where: How to point a user at them.

    Raises:
        InputError: Another shape, or values that are no class indices.
    """
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if stored.ndim == 2:
        if not _one_hot(stored):
            fix = "Give one class index a sample"
            if np.isin(stored, (0, 1)).all():
                fix += ", or set data.task: multilabel if a sample may have several labels"
            raise InputError(f"labels of shape {stored.shape} are not one-hot", where=where, fix=fix)
        labels: Array = np.argmax(stored, axis=1).astype(np.int64)
        return labels
    if stored.ndim != 1:
        fix = "Give one class index a sample, or say what they are in data.task: segmentation, sequence or regression"
        raise InputError(f"labels have shape {stored.shape}", where=where, fix=fix)
    whole = _whole(stored, where)
    if whole.size and whole.max() >= MOST_CLASSES:
        fix = "Number the classes from 0 without gaps, or set data.task: regression"
        raise InputError(f"has label {whole.max()}, {MOST_CLASSES - 1} is the most", where=where, fix=fix)
    return whole.astype(np.int64)


def position_classes(stored: Array, where: str, *, axes: int) -> Array:
    """A class index for each position of a sample: int16 `[samples, *positions]`; −1 is not judged.

    Args:
        stored: `[samples, *positions]`, with one more axis of size 1, or one-hot on one more axis.
        where: How to point a user at them.
        axes: Axes of the positions: 2 of a mask, 1 of a sequence.

    Raises:
        InputError: Another shape, or values that are no class indices.
    """
    name = "mask" if axes == 2 else "row of labels"
    if stored.ndim == axes + 2 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim == axes + 2 and _one_hot(stored):
        found: Array = np.argmax(stored, axis=-1).astype(np.int16)
        return found
    if stored.ndim != axes + 1 or 0 in stored.shape[1:]:
        wanted = "[height, width]" if axes == 2 else "[steps]"
        fix = f"Give a class index for each {'pixel' if axes == 2 else 'step'}, or one-hot ones on a last axis"
        raise InputError(f"has targets of shape {list(stored.shape[1:])}, a {name} has {wanted}", where=where, fix=fix)
    labels = _whole(stored, where, lowest=UNKNOWN)
    if labels.size and labels.max() > MOST_POSITION_CLASSES:
        raise InputError(f"has label {labels.max()}, {MOST_POSITION_CLASSES} is the most", where=where)
    return labels.astype(np.int16)


def several_labels(stored: Array, where: str) -> Array:
    """Which labels a sample has: int8 `[samples, labels]` of 0 and 1; −1 is not known.

    Raises:
        InputError: Another shape, or other values.
    """
    if stored.ndim != 2:
        what = f"has targets of shape {list(stored.shape[1:])}, task multilabel needs [labels]"
        raise InputError(what, where=where, fix="Give a row of 0 and 1 for each sample, one column for each label")
    labels = _whole(stored, where, lowest=UNKNOWN)
    if labels.size and labels.max() > 1:
        fix = "Give a row of 0 and 1 for each sample, one column for each label"
        raise InputError(f"has the value {labels.max()} among several labels", where=where, fix=fix)
    return labels.astype(np.int8)


def _one_hot(stored: Array) -> bool:
    return bool(np.isin(stored, (0, 1)).all() and (stored.sum(axis=-1) == 1).all())


def _whole(stored: Array, where: str, lowest: int = 0) -> Array:
    """Integers, however they are stored; of the stored dtype where that is one of integers."""
    if stored.dtype.kind not in "buif":
        raise InputError(f"labels are {stored.dtype}, not numbers", where=where, fix="Give class indices from 0")
    if stored.dtype.kind == "f":
        if not (np.isfinite(stored).all() and np.array_equal(stored, np.round(stored))):
            raise InputError("labels are not whole numbers", where=where, fix="Give class indices from 0")
        if stored.size and np.abs(stored).max() > np.iinfo(np.int32).max:
            raise InputError("has labels that are no class indices", where=where, fix="Give class indices from 0")
        stored = stored.astype(np.int64)
    if stored.size and stored.min() < lowest:
        raise InputError(f"has the negative label {stored.min()}", where=where, fix="Give class indices from 0")
    return stored.astype(np.int8) if stored.dtype.kind == "b" else stored
