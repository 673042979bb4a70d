"""Arithmetic and comparisons of two tensors, or of a tensor and a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.models.rebuild.builder import Builder, Merged, on_last
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.ops.activations import function_named
from litemill.models.rebuild.ops.affine import affine
from litemill.models.rebuild.table import rebuilds

FUNCTIONS = {
    "ADD": "math.add",
    "DIV": "math.divide",
    "EQUAL": "math.equal",
    "FLOOR_DIV": "math.floordiv",
    "FLOOR_MOD": "math.floormod",
    "GREATER": "math.greater",
    "GREATER_EQUAL": "math.greater_equal",
    "LESS": "math.less",
    "LESS_EQUAL": "math.less_equal",
    "LOGICAL_AND": "math.logical_and",
    "LOGICAL_OR": "math.logical_or",
    "MAXIMUM": "math.maximum",
    "MINIMUM": "math.minimum",
    "MUL": "math.multiply",
    "NOT_EQUAL": "math.not_equal",
    "POW": "math.pow",
    "SQUARED_DIFFERENCE": "math.squared_difference",
    "SUB": "math.subtract",
}
"""TensorFlow's function of each op."""
LAYERS = {"ADD": "Add", "MUL": "Multiply", "SUB": "Subtract", "MAXIMUM": "Maximum", "MINIMUM": "Minimum"}
"""Keras's layer of those that have one for tensors of the same rank."""


@rebuilds(*(name for name in FUNCTIONS if name != "MUL"))
def binary(b: Builder, op: Op) -> None:
    """A layer or a function of two inputs."""
    b.put(op, computed(b, op))


@rebuilds("MUL")
def product(b: Builder, op: Op) -> None:
    """A product; x · sigmoid(x) is Activation("swish"), which TFMOT quantizes as it does not a product."""
    for x, gate in (op.inputs, op.inputs[::-1]):
        maker = b.graph.maker.get(gate)
        if maker and maker.name == "LOGISTIC" and maker.inputs[0] == x and b.graph.uses[gate] == 1 and not b.known(x):
            b.put(op, on_last(b.value(x), lambda tensor: b.activation("SWISH", tensor, op.layer_name)))
            return
    b.put(op, computed(b, op))


def computed(b: Builder, op: Op) -> Any:
    """What an op makes of its two inputs, of which one may be constant and both merged.

    Raises:
        Refused: One has its batch merged with another axis and the other is not like it.
    """
    left, right = (b.value(index) for index in op.inputs)
    first, last = isinstance(left, np.ndarray), isinstance(right, np.ndarray)
    if first or last:
        x, value = (right, left) if first else (left, right)
        if isinstance(x, Merged) and value.ndim > 1:
            raise Refused("takes a tensor whose batch is merged with another axis")
        return on_last(x, lambda tensor: _with_constant(b, op, tensor, value, first=first))
    if isinstance(left, Merged) != isinstance(right, Merged):
        raise Refused("takes a tensor whose batch is merged with another axis")
    if isinstance(left, Merged):
        return Merged(_of_two(b, op, left.tensor, right.tensor))
    return _of_two(b, op, left, right)


def _of_two(b: Builder, op: Op, left: Any, right: Any) -> Any:
    if op.name in LAYERS and len(left.shape) == len(right.shape):
        return getattr(b.layers, LAYERS[op.name])(name=op.layer_name)([left, right])
    return function_named(b, FUNCTIONS[op.name])(left, right)


def _with_constant(b: Builder, op: Op, x: Any, value: NDArray[Any], *, first: bool) -> Any:
    """Arithmetic with a constant; a product and the sum behind it are one layer.

    Args:
        b: The builder.
        op: Whose it is.
        x: The tensor.
        value: The constant.
        first: Whether the constant is the first of the two.
    """
    scale: Any = 1.0
    offset: Any = 0.0
    if op.name in ("ADD", "SUB"):
        scale, offset = (
            (-1.0 if op.name == "SUB" and first else 1.0),
            (-value if op.name == "SUB" and not first else value),
        )
    elif op.name == "MUL" or (op.name == "DIV" and not first):
        scale = value if op.name == "MUL" else 1 / value
        offset, behind = _offset_behind(b, op)
        if behind is not None:
            made = affine(b, op, x, scale, offset)
            b.put(behind, made)
            b.done.add(behind.at)
            return made
    else:
        function, given = function_named(b, FUNCTIONS[op.name]), value.astype(x.dtype.as_numpy_dtype)
        return function(given, x) if first else function(x, given)
    return affine(b, op, x, scale, offset)


def _offset_behind(b: Builder, op: Op) -> tuple[Any, Op | None]:
    """What is added to a product alone, and the op that adds it; 0 and None where nothing is."""
    made = op.outputs[0]
    reader = b.graph.only_reader(made)
    if op.fused != "NONE" or reader is None or reader.name not in ("ADD", "SUB"):
        return 0.0, None
    other = b.graph.other_input(reader, made)
    if other is None or not b.known(other) or (reader.name == "SUB" and reader.inputs[0] != made):
        return 0.0, None
    return b.value(other) * (1 if reader.name == "ADD" else -1), reader


@rebuilds("SELECT", "SELECT_V2")
def select(b: Builder, op: Op) -> None:
    """One of two by a condition."""
    condition, *values = map(b.value, op.inputs)
    if any(isinstance(value, Merged) for value in (condition, *values)):
        raise Refused("takes a tensor whose batch is merged with another axis")
    given = [value.astype(np.float32) if isinstance(value, np.ndarray) else value for value in values]
    b.put(op, b.tf.where(condition, *given))
