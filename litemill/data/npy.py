"""Read `.npy` arrays as a stream, from a file or from inside a zip, without holding them in memory."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from litemill.data.source import Samples, rows_per_block
from litemill.errors import InputError

BROKEN = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, LookupError)
"""What reading raises: damaged archives, those with a password and those of an unknown compression among them."""
HEADER = (
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    AttributeError,
    MemoryError,
    OverflowError,
    RecursionError,
)
"""What NumPy raises on headers that are not one."""


@dataclass(frozen=True)
class NpyStream:
    """An array that can be read in blocks of rows.

    Attributes:
        where: How to point a user at it.
        shape: Of the whole array.
        dtype: Of its elements.
        open: Opens the `.npy` bytes from their beginning.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    open: Callable[[], IO[bytes]]

    @classmethod
    def of(cls, where: str, open_bytes: Callable[[], IO[bytes]], size: int) -> NpyStream:
        """Read the header.

        Args:
            where: How to point a user at it.
            open_bytes: Opens the `.npy` bytes from their beginning.
            size: How many bytes there are.

        Raises:
            InputError: Not a `.npy`, pickled objects, no rows, not numbers, column-major, or larger than its bytes.
        """
        try:
            with open_bytes() as stream:
                shape, fortran, dtype = _header(stream)
        except (*BROKEN, *HEADER) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
            raise InputError(f"is no readable NumPy array ({reason})", where=where) from None
        if dtype.hasobject:
            raise InputError("holds pickled Python objects, which are never loaded", where=where, fix="Save numbers")
        if dtype.kind not in "buif":
            raise InputError(f"holds {dtype} values, not numbers", where=where)
        if not shape:
            raise InputError("is a single value, not an array of samples", where=where)
        if fortran and len(shape) > 1:
            fix = "Save np.ascontiguousarray(x)"
            raise InputError("is stored column by column and cannot be streamed", where=where, fix=fix)
        if any(length < 0 for length in shape) or 0 in shape[1:]:
            raise InputError(f"has shape {list(shape)}: its samples hold nothing", where=where)
        if math.prod(shape) * dtype.itemsize > size:
            raise InputError(f"is truncated: it has {size:,} bytes, too few for shape {list(shape)}", where=where)
        return cls(where, shape, dtype, open_bytes)

    def blocks(self, rows: int = 0) -> Iterator[Samples]:
        """Yield consecutive blocks of rows, `[rows, *shape[1:]]`; as many as fit a block by default.

        Raises:
            InputError: The bytes end early or are damaged.
        """
        rows = rows or rows_per_block(self.shape[1:], self.dtype)
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            with self.open() as stream:
                _header(stream)
                for start in range(0, self.shape[0], rows):
                    count = min(rows, self.shape[0] - start)
                    yield _rows(stream, count * size, self.dtype).reshape(count, *self.shape[1:])
        except BROKEN as error:
            raise InputError(f"is truncated or damaged ({error})", where=self.where) from None

    def read(self) -> Samples:
        """The whole array: for labels only."""
        blocks = list(self.blocks())
        return np.concatenate(blocks) if blocks else np.empty(self.shape, self.dtype)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version not in ((2, 0), (3, 0)):
        raise ValueError(f"its format has the version {version[0]}.{version[1]}")
    return npy.read_array_header_2_0(stream)


def _rows(stream: IO[bytes], size: int, dtype: np.dtype[np.generic]) -> Samples:
    """Read exactly `size` bytes: a zip member may give fewer at a time."""
    parts, missing = [], size
    while missing:
        part = stream.read(missing)
        if not part:
            raise EOFError(f"{missing} bytes missing")
        parts.append(part)
        missing -= len(part)
    return np.frombuffer(b"".join(parts), dtype)
