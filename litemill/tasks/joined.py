"""Outputs that are judged together: boxes and scores of a detector, side by side as if they were one output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError

Array = NDArray[Any]

JOIN = "+"
"""Between the names of outputs that are judged together."""


def parts_of(output: str, known: Sequence[str]) -> list[str]:
    """Names of the outputs that a name stands for: itself, unless it joins the names of several that are known."""
    if output in known or JOIN not in output:
        return [output]
    return output.split(JOIN)


def side_by_side(parts: Sequence[Array]) -> Array:
    """Outputs of the same samples and rows as one: `[samples, rows]` is one column, `[samples, rows, n]` are n.

    Raises:
        InputError: They have other rows, or none.
    """
    if len(parts) == 1:
        return parts[0]
    columns = [part[..., np.newaxis] if part.ndim == 2 else part for part in parts]
    if joined_shape([part.shape[1:] for part in parts]) is None:
        shapes = ", ".join(str(list(part.shape[1:])) for part in parts)
        raise InputError(f"outputs of shapes {shapes} are not rows of the same boxes")
    found: Array = np.concatenate(columns, axis=2)
    return found


def joined_shape(shapes: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...] | None:
    """Shape of a sample of several outputs side by side; None where they cannot stand so.

    Args:
        shapes: Of a sample of each, None for a size that is not known.
    """
    if len(shapes) == 1:
        return shapes[0]
    if any(len(shape) not in (1, 2) for shape in shapes) or len({shape[0] for shape in shapes} - {None}) > 1:
        return None
    widths = [shape[1] if len(shape) == 2 else 1 for shape in shapes]
    rows = next((shape[0] for shape in shapes if shape[0] is not None), None)
    return (rows, None if None in widths else sum(width for width in widths if width is not None))
