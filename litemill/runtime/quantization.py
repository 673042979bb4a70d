"""Real values to what a tensor stores and back, and values to try a model on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGN_BIT, ONE_HALF = np.uint32(1 << 31), np.float32(0.5).view(np.uint32)
"""Bits of a float32."""


def quantize(
    values: NDArray[Any],
    details: dict[str, Any],
    *,
    out: NDArray[Any] | None = None,
    scratch: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """Real values to a tensor's own dtype: round(x / scale) + zero point, saturated; halves go away from zero.

    Args:
        values: Of any shape and numeric dtype; what an input without a scale takes is kept to the last bit.
        details: The tensor's `dtype` and `quantization` (scale, zero point), as LiteRT tells them.
        out: Where to write, of the tensor's dtype and the values' shape; a new array by default.
        scratch: `[2, …]` room for two more arrays of the values' shape, for who quantizes batch after batch.

    Returns:
        `out`, or the new array.
    """
    dtype = np.dtype(details["dtype"])
    scale, zero_point = details["quantization"]
    stored: NDArray[Any] = np.empty(values.shape, dtype) if out is None else out
    if not scale:
        stored[...] = values.astype(dtype)
        return stored
    values = np.asarray(values, np.float32)
    scaled, half = np.empty((2, *values.shape), np.float32) if scratch is None else scratch
    limits = np.iinfo(dtype)
    np.divide(values, np.float32(scale), out=scaled)
    # np.copysign(0.5, scaled), seven times faster: the sign bit of each value over the bits of one half.
    np.bitwise_and(scaled.view(np.uint32), SIGN_BIT, out=half.view(np.uint32))
    np.bitwise_or(half.view(np.uint32), ONE_HALF, out=half.view(np.uint32))
    np.add(scaled, half, out=scaled)
    np.trunc(scaled, out=scaled)
    np.add(scaled, np.float32(zero_point), out=scaled)
    np.clip(scaled, limits.min, limits.max, out=scaled)
    stored[...] = scaled
    return stored


def dequantize(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    """A tensor's stored values to real ones: scale · (q − zero point)."""
    scale, zero_point = details["quantization"]
    if not scale:
        return values.astype(np.float32)
    real: NDArray[np.float32] = (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return real


def random_values(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, low: float, high: float
) -> NDArray[Any]:
    """Seeded values that an input may take, where there are no real ones.

    Args:
        rng: Gives the numbers.
        shape: Of the result.
        dtype: Of the input as the model declares it.
        low: Smallest real value of a float or quantized input.
        high: Largest.

    Returns:
        float32 in [low, high) for floats; pixels over the whole range of a byte; 0 and 1 of any other integer, which
        may be the index of something, and of bool.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.uniform(low, high, shape).astype(np.float32)
    if kind.itemsize == 1 and kind.kind in "iu":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)
    return rng.integers(0, 2, shape).astype(kind)
