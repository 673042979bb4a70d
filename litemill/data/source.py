"""What a kind of data set has to offer: targets at once, samples as a stream of blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import sample_shapes
from litemill.tasks import BoxLayout, Reading

Samples = NDArray[np.generic]
Labels = NDArray[np.int64]
Targets = NDArray[Any]
"""Class indices (int64), or numbers to predict (float32)."""
Index = NDArray[np.int64]
"""Ascending row numbers."""

BLOCK_BYTES = 4 << 20
"""Bytes of samples held in memory at a time, and their copies; as float32, which they become."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class SourceSplit:
    """One split of a source.

    Attributes:
        name: `train`, `calibration` or `test`.
        where: How to point a user at it, e.g. `data.npz[x_train]`.
        shape: Shape of one sample; empty where there are several inputs.
        dtype: Of the raw samples; structured where there are several inputs (see `litemill.artifacts.inputs`).
        targets: One for each sample: class indices from 0 (int64; −1 where not known), or numbers (float32).
        read: Gives the raw samples at ascending rows as consecutive blocks, `[rows, *shape]`.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    targets: Targets
    read: Callable[[Index], Iterator[Samples]]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of a sample by input; that of the only one under the empty name."""
        return sample_shapes(self.shape, self.dtype)

    @property
    def strata(self) -> Labels:
        """What draws keep in proportion: the classes; nothing where targets are numbers."""
        if self.targets.dtype.kind == "i" and self.targets.ndim == 1:
            return self.targets
        return np.zeros(len(self), np.int64)

    def blocks(self) -> Iterator[Samples]:
        """All samples."""
        return self.read(np.arange(len(self), dtype=np.int64))


@dataclass(frozen=True)
class Source:
    """A data set that was opened: its splits by name; `calibration` may be missing."""

    splits: dict[str, SourceSplit]
    class_names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SourceFacts:
    """What is known of a data set before anything is computed."""

    kind: str
    input_shape: tuple[int, ...]
    dtype: str
    classes: int
    samples: dict[str, int]
    warnings: list[str] = field(default_factory=list)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of a sample by input, of several; `input_shape` is empty then."""
    target_shape: tuple[int, ...] = ()
    boxes: BoxLayout | None = None

    @property
    def reading(self) -> Reading:
        """How outputs are read beside these targets, as far as the data tells."""
        return Reading(
            classes=self.classes, target_shape=self.target_shape, input_shape=self.input_shape, boxes=self.boxes
        )


def rows_per_block(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many samples of that shape and dtype make a block of about `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // max(1, math.prod(shape) * max(FLOAT_BYTES, dtype.itemsize)))


def reading_through(stream: Callable[[], Iterator[Samples]]) -> Callable[[Index], Iterator[Samples]]:
    """Read rows out of a source that can only be read from its beginning."""

    def read(index: Index) -> Iterator[Samples]:
        row = 0
        for block in stream() if len(index) else ():
            first, last = np.searchsorted(index, (row, row + len(block)))
            if last > first:
                yield block[index[first:last] - row]
            row += len(block)
            if last == len(index):
                return

    return read


def reading_array(array: Samples) -> Callable[[Index], Iterator[Samples]]:
    """Read rows of an array, in memory or memory-mapped."""

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(array.shape[1:], array.dtype)
        for start in range(0, len(index), rows):
            yield array[index[start : start + rows]]

    return read
