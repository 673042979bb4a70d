"""What a kind of data set has to offer: labels at once, samples as a stream of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from litemill.spec import DataSpec

Samples = NDArray[np.generic]
Labels = NDArray[np.int64]

BLOCK_BYTES = 16 << 20
"""Raw bytes of samples held in memory at a time."""


@dataclass(frozen=True)
class SourceSplit:
    """One split of a source.

    Attributes:
        name: `train`, `calibration` or `test`.
        where: How to point a user at it, e.g. `data.npz[x_train]`.
        shape: Shape of one sample.
        dtype: Of the raw samples.
        labels: One for each sample; class indices from 0.
        blocks: Opens a stream of consecutive blocks of raw samples, `[rows, *shape]`; rows add up to `len(labels)`.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    labels: Labels
    blocks: Callable[[], Iterator[Samples]]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Source:
    """A data set that was opened: its splits by name; `calibration` may be missing."""

    splits: dict[str, SourceSplit]


Opener = Callable[[DataSpec], Source]


@dataclass(frozen=True)
class SourceFacts:
    """What is known of a data set before anything is computed."""

    kind: str
    input_shape: tuple[int, ...]
    dtype: str
    classes: int
    samples: dict[str, int]
    warnings: list[str] = field(default_factory=list)


def rows_per_block(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    """How many samples of that shape and dtype make a block of about `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // max(1, int(np.prod(shape)) * dtype.itemsize))
