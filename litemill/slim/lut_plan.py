"""Which weights of a `.tflite` may become look-up tables that TFLM decodes, and what each would save."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.flatbuffer.graph import floats
from litemill.flatbuffer.reader import DTYPE_NAMES, constant, elements, ints, op_name, text

DECODE = "TFLM_DECODE"
"""The op that writes a weight out of its tables."""
WIDEST = 7
"""Bits that an index may have."""
HEADER = 16
"""Bytes before the tables of a tensor."""
GRAPH_BYTES = 100
"""About what another DECODE op, its tensors and buffers take of a slimmed file."""


class Table(NamedTuple):
    """A weight that may be stored as indices into tables of its values."""

    graph: int
    tensor: int
    name: str
    shape: list[int]
    bits: int
    values: int
    axis: int | None
    """One table for each channel on this axis, which is the tensor's quantization; None: one table in all."""
    saved: int
    """Bytes of weights, less those of indices and tables; the graph grows by about `GRAPH_BYTES`."""


def candidates(model: Any) -> tuple[list[Table], dict[str, str]]:
    """The int8 weights that tables make smaller, and why the others stay as they are.

    Args:
        model: A `schema.ModelT`.

    Returns:
        Tables in the order of the file, and reasons by the name of a tensor (without one: of the op that reads it).
    """
    found, left, names = [], dict[str, str](), set[str]()
    for number, graph in enumerate(model.subgraphs):
        readers = _readers(model, graph)
        for index, tensor in enumerate(graph.tensors or []):
            if index not in readers or DTYPE_NAMES.get(tensor.type) != "int8" or len(ints(tensor.shape)) < 2:
                continue
            values = constant(model, tensor)
            if values is None:
                continue
            name = _free(text(tensor.name) or readers[index], names)
            if reason := _obstacle(tensor, values):
                left[name] = reason
                continue
            table = _table(number, index, name, tensor, values)
            if isinstance(table, str):
                left[name] = table
            else:
                found.append(table)
    return found, left


def holds_tables(model: Any) -> bool:
    """Whether a file has look-up tables already."""
    return any(op_name(model, op) == DECODE for graph in model.subgraphs for op in graph.operators or [])


def _readers(model: Any, graph: Any) -> dict[int, str]:
    """Position and type of the first op that reads each tensor."""
    readers: dict[int, str] = {}
    for at, op in enumerate(graph.operators or []):
        for index in ints(op.inputs):
            readers.setdefault(index, f"{at} {op_name(model, op)}")
    return readers


def _free(name: str, taken: set[str]) -> str:
    """A name that no other weight has."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name} ({count})"
    taken.add(found)
    return found


def _obstacle(tensor: Any, values: NDArray[Any]) -> str:
    """Why TFLM could not decode it, or nothing."""
    if tensor.isVariable or tensor.sparsity is not None:
        return "it is a variable" if tensor.isVariable else "it is stored sparsely"
    if values.size != elements(tensor):
        return "it does not hold the values of its shape"
    axis, scales = _quantization(tensor)
    if scales <= 1:
        return f"quantized with one scale on axis {axis}, which TFLM does not decode" if axis else ""
    shape = ints(tensor.shape)
    if axis not in (0, len(shape) - 1) or shape[axis] != scales:
        return f"quantized on axis {axis} of {len(shape)} with {scales} scales, which TFLM does not decode"
    return ""


def _quantization(tensor: Any) -> tuple[int, int]:
    """Axis and number of the scales; (0, 0) without any."""
    held = tensor.quantization
    scales = [] if held is None else floats(held.scale)
    return (int(held.quantizedDimension), len(scales)) if scales else (0, 0)


def _table(graph: int, index: int, name: str, tensor: Any, values: NDArray[Any]) -> Table | str:
    """The tables of a weight, or why they would not pay.

    The decoder takes the number of tables, and which one a weight is looked up in, from the tensor's quantization: any
    other arrangement gives wrong weights without an error.
    """
    shape, (axis, scales) = ints(tensor.shape), _quantization(tensor)
    per_channel = axis if scales > 1 else None
    rows = values.reshape(1, -1)
    if per_channel is not None:
        rows = np.moveaxis(values.reshape(shape), per_channel, 0).reshape(scales, -1)
    most = _most_distinct(rows)
    bits = max(1, (most - 1).bit_length())
    kind = "a channel" if per_channel is not None else "it"
    if bits > WIDEST:
        return f"{most} distinct values in {kind}, tables have {1 << WIDEST} at most"
    saved = values.size - -(-values.size * bits // 8) - len(rows) * most - HEADER
    if saved <= 0:
        return f"tables would not make it smaller: {most} distinct values in {kind}, {rows.shape[1]:,} weights"
    return Table(graph, index, name, shape, bits, most, per_channel, saved)


def _most_distinct(rows: NDArray[Any]) -> int:
    """Most distinct values in one row of `[rows, values]`."""
    ordered = np.sort(rows, axis=1)
    return int((np.diff(ordered, axis=1) != 0).sum(axis=1).max()) + 1
