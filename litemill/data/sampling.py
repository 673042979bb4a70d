"""Seeded draws that look at the labels: in proportion for limits, balanced for calibration."""

from __future__ import annotations

import numpy as np

from litemill.data.source import Index, Labels


def in_proportion(labels: Labels, count: int | None, rng: np.random.Generator) -> Index:
    """Indices of `count` samples, classes in their proportion (largest remainders first), in source order.

    All of them when `count` is None or not below the number of samples.
    """
    if count is None or count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count / len(labels)
    quota = np.floor(exact).astype(np.int64)
    rest = count - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:rest]] += 1
    return _draw(labels, dict(zip(classes.tolist(), quota.tolist(), strict=True)), rng)


def balanced(labels: Labels, count: int, rng: np.random.Generator) -> Index:
    """Indices of `count` samples, as many of each class as it has to give, in source order.

    A class with fewer samples than its share gives all it has, and the others fill the gap.
    """
    if count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    classes, sizes = np.unique(labels, return_counts=True)
    quota = np.zeros(len(classes), np.int64)
    while (missing := count - int(quota.sum())) > 0:
        able = np.flatnonzero(quota < sizes)
        if missing < len(able):
            quota[rng.permutation(able)[:missing]] += 1
        else:
            quota[able] = np.minimum(sizes[able], quota[able] + missing // len(able))
    return _draw(labels, dict(zip(classes.tolist(), quota.tolist(), strict=True)), rng)


def _draw(labels: Labels, quota: dict[int, int], rng: np.random.Generator) -> Index:
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in quota.items()]
    return np.sort(np.concatenate(drawn)).astype(np.int64)
