"""Arithmetic on what is known while a model is rebuilt: weights, and shapes in which a prime stands for the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.flatbuffer.reader import ints
from litemill.models.rebuild.graph import FileGraph, Op, Refused

BATCH = 1_000_003
"""Stands for the free batch in shape arithmetic: a prime that is no factor of any real size."""
MOST_ELEMENTS = 1 << 26
"""That an op may make of nothing: the weights of a file are in it, a constant that is filled or counted is not."""
Fold = Callable[..., Any]
"""Takes an op's options and its inputs."""


def _axes(values: Any) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.ravel(values))


def _sizes(shape: Any) -> list[int]:
    """A shape with a batch of 1 where the stand-in is.

    Raises:
        Refused: A file of any size may ask for it, and it would not fit into memory.
    """
    sizes = [1 if size and size % BATCH == 0 else int(size) for size in np.ravel(shape)]
    _hold(math.prod(sizes))
    return sizes


def _hold(elements: float) -> None:
    if elements > MOST_ELEMENTS:
        raise Refused(f"makes a constant of {elements:,.0f} elements")


def _fill(options: Any, shape: Any, value: Any) -> Any:
    return np.full(_sizes(shape), value)


def _range(options: Any, start: Any, stop: Any, step: Any) -> Any:
    _hold(abs((stop - start) / step))
    return np.arange(start, stop, step)


def _reshape(options: Any, values: Any, *shape: Any) -> Any:
    return np.reshape(values, _axes(shape[0]) if shape else ints(options.newShape))


def _broadcast(options: Any, values: Any, shape: Any) -> Any:
    return np.broadcast_to(values, _sizes(shape))


def _squeeze(options: Any, values: Any) -> Any:
    return np.squeeze(values, tuple(ints(options.squeezeDims)) or None)


FOLDS: Mapping[str, Fold] = {
    "ADD": lambda options, a, b: a + b,
    "BROADCAST_TO": _broadcast,
    "CAST": lambda options, a: a,
    "CONCATENATION": lambda options, *parts: np.concatenate(parts, axis=options.axis),
    "DIV": lambda options, a, b: a / b if np.asarray(a).dtype.kind == "f" else a // b,
    "EXPAND_DIMS": lambda options, a, axis: np.expand_dims(a, _axes(axis)[0]),
    "FILL": _fill,
    "FLOOR_DIV": lambda options, a, b: a // b,
    "GATHER": lambda options, a, at: np.take(a, at, axis=options.axis),
    "MAXIMUM": lambda options, a, b: np.maximum(a, b),
    "MINIMUM": lambda options, a, b: np.minimum(a, b),
    "MUL": lambda options, a, b: a * b,
    "NEG": lambda options, a: -a,
    "PACK": lambda options, *parts: np.stack(parts, axis=options.axis),
    "RANGE": _range,
    "REDUCE_PROD": lambda options, a, axes: np.prod(a, axis=_axes(axes), keepdims=options.keepDims),
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": lambda options, a, *edges: a[cuts(options, np.ndim(a), *map(np.ravel, edges))],
    "SUB": lambda options, a, b: a - b,
    "TRANSPOSE": lambda options, a, order: np.transpose(a, _axes(order)),
}
"""What each op makes of numpy arrays."""


def folds(op: Op) -> bool:
    """Whether the result of an op is known where its inputs are."""
    return op.name in FOLDS


def fold(op: Op, values: list[Any]) -> NDArray[Any]:
    """The result of an op whose inputs are known."""
    return np.asarray(FOLDS[op.name](op.options, *values))


def known_tensors(graph: FileGraph) -> set[int]:
    """Tensors that are known before the model runs: constants, shapes, and what is computed of these alone."""
    known: set[int] = set()
    for op in graph.ops:
        if op.name == "SHAPE" or (folds(op) and all(graph.is_constant(index) or index in known for index in op.inputs)):
            known.update(op.outputs)
    return known


def cuts(options: Any, rank: int, begin: Any, end: Any, strides: Any) -> tuple[Any, ...]:
    """What a STRIDED_SLICE takes, as an index of numpy's.

    Args:
        options: Of the op.
        rank: Of what it cuts.
        begin: `[axes]`, as `end` and `strides`.
        end: Where each cut ends.
        strides: Of each.

    Raises:
        Refused: It has an ellipsis or a new axis.
    """
    if options.ellipsisMask or options.newAxisMask:
        raise Refused("has an ellipsis or a new axis")
    found: list[Any] = []
    for at in range(len(begin)):
        if options.shrinkAxisMask >> at & 1:
            found.append(int(begin[at]))
            continue
        start = None if options.beginMask >> at & 1 else int(begin[at])
        stop = None if options.endMask >> at & 1 else int(end[at])
        found.append(slice(start, stop, int(strides[at])))
    return (*found, *[slice(None)] * (rank - len(found)))
