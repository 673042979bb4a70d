"""Samples of a model with several inputs: one structured array, its fields named as in the model's signature.

Rows of such an array are drawn, cut, hashed and memory-mapped like those of a plain one; only who makes samples or
feeds them to a model looks at the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


def named(x: Array) -> dict[str, Array]:
    """Each input's samples, `[samples, …]`, by name; those of the only input under the empty name."""
    return {name: x[name] for name in x.dtype.names} if x.dtype.names else {"": x}


def row_dtype(inputs: Mapping[str, tuple[Any, Shape]]) -> np.dtype[Any]:
    """Dtype of the rows for inputs of these dtypes and sample shapes, by name."""
    return np.dtype([(name, dtype, tuple(shape)) for name, (dtype, shape) in inputs.items()])


def joined(parts: Mapping[str, Array]) -> Array:
    """Samples by input as one array: the opposite of `named`. All have as many samples."""
    if set(parts) == {""}:
        return parts[""]
    dtype = row_dtype({name: (part.dtype, part.shape[1:]) for name, part in parts.items()})
    rows: Array = np.empty(len(next(iter(parts.values()))), dtype)
    for name, part in parts.items():
        rows[name] = part
    return rows


def sample_shapes(shape: Shape, dtype: np.dtype[Any]) -> dict[str, Shape]:
    """Shape of one sample by input, for an array of that sample shape and dtype."""
    if not dtype.names:
        return {"": tuple(shape)}
    return {name: tuple(dtype[name].shape) for name in dtype.names}


def holds_floats(dtype: np.dtype[Any]) -> bool:
    """Whether an input has floating-point values, so that NaN and infinity are possible."""
    return any(dtype[name].base.kind == "f" for name in dtype.names) if dtype.names else dtype.kind == "f"


def finite_rows(x: Array) -> NDArray[np.bool_]:
    """`[samples]`: whether all values of a sample are finite."""
    finite = np.ones(len(x), bool)
    for part in named(x).values():
        if part.dtype.kind == "f":
            finite &= np.isfinite(part.reshape(len(x), -1)).all(axis=1)
    return finite


def constant_rows(x: Array) -> NDArray[np.bool_]:
    """`[samples]`: whether each input of a sample holds one value only."""
    constant = np.ones(len(x), bool)
    for part in named(x).values():
        rows = part.reshape(len(x), -1)
        constant &= rows.min(axis=1) == rows.max(axis=1)
    return constant


def extremes(x: Array) -> tuple[float, float]:
    """Smallest and largest value of all inputs."""
    parts = named(x).values()
    return min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
