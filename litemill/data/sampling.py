"""Seeded draws that look at the labels: in proportion for limits, balanced for calibration."""

from __future__ import annotations

import numpy as np

from litemill.data.source import Index, Labels

FEWEST_CALIBRATION_SAMPLES = 10
"""Fewer are refused: one sample costs ResNet8 three points of CIFAR-10 accuracy, ten cost none that can be measured."""
ENOUGH_CALIBRATION_SAMPLES = 32
"""Fewer are warned of: ranges then hang on which samples happened to be drawn."""


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


def balanced_order(labels: Labels, rng: np.random.Generator) -> Index:
    """All indices in an order of which every beginning has as many of each class as there are to give.

    So a longer calibration set holds every shorter one: what differs between two is what the added samples do.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    rounds = [rng.permutation(np.flatnonzero(sizes > turn)) for turn in range(int(sizes.max(initial=0)))]
    order = [shuffled[place][turn] for turn, places in enumerate(rounds) for place in places]
    return np.array(order, dtype=np.int64)


def _draw(labels: Labels, quota: dict[int, int], rng: np.random.Generator) -> Index:
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in quota.items()]
    return np.sort(np.concatenate(drawn)).astype(np.int64)
