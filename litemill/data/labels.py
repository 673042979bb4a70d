"""Turn stored labels into class indices."""

from __future__ import annotations

import numpy as np

from litemill.data.source import Labels, Samples
from litemill.errors import InputError


def class_indices(stored: Samples, samples: int, where: str) -> Labels:
    """Class indices from 0, `[samples]` int64.

    Args:
        stored: `[samples]`, `[samples, 1]` or one-hot `[samples, classes]`, of any number type.
        samples: How many there must be.
        where: How to point a user at them.

    Raises:
        InputError: Another count or shape, or values that are no class indices.
    """
    if len(stored) != samples:
        raise InputError(f"has {len(stored)} labels for {samples} samples", where=where)
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if stored.ndim == 2:
        if not (np.isin(stored, (0, 1)).all() and (stored.sum(axis=1, dtype=np.float64) == 1).all()):
            raise InputError(f"labels of shape {stored.shape} are not one-hot", where=where)
        labels: Labels = np.argmax(stored.astype(np.float64), axis=1).astype(np.int64)
        return labels
    if stored.ndim != 1:
        raise InputError(f"labels have shape {stored.shape}", where=where, fix="Give one class index a sample")
    exact = stored.astype(np.float64)
    if not (np.isfinite(exact).all() and np.array_equal(exact, np.round(exact))):
        raise InputError("labels are not whole numbers", where=where, fix="Give class indices from 0")
    labels = stored.astype(np.int64)
    if len(labels) and labels.min() < 0:
        raise InputError(f"has the negative label {labels.min()}", where=where, fix="Give class indices from 0")
    return labels
