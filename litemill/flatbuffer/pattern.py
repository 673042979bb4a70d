"""The N:M sparsity pattern: so many zeros in each group of consecutive input channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pattern_breaks(values: NDArray[Any], m_by_n: tuple[int, int], *, axis: int = -2, zero: int = 0) -> int:
    """Count the groups with fewer zeros than the pattern asks for.

    Args:
        values: A kernel of two or four dimensions.
        m_by_n: (zeros, group), e.g. (2, 4).
        axis: Of the input channels: −2 in Keras's layout, −1 in a `.tflite`.
        zero: The stored value that stands for zero.

    Returns:
        0 where the pattern holds; every group where the channels do not divide into groups.
    """
    zeros, group = m_by_n
    channels = np.moveaxis(values, axis, -1)
    if channels.shape[-1] % group:
        return max(1, channels.size // group)
    grouped = (channels == zero).reshape(-1, group).sum(axis=1)
    return int(np.count_nonzero(grouped < zeros))
