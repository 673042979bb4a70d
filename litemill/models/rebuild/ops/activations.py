"""Activations and the other functions of one tensor that work element by element."""

from __future__ import annotations

from typing import Any

from litemill.models.rebuild.builder import Builder, on_last
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.table import rebuilds

FUNCTIONS = {
    "ABS": "math.abs",
    "CEIL": "math.ceil",
    "COS": "math.cos",
    "EXP": "math.exp",
    "FLOOR": "math.floor",
    "LOG": "math.log",
    "LOGICAL_NOT": "math.logical_not",
    "LOG_SOFTMAX": "nn.log_softmax",
    "NEG": "math.negative",
    "ROUND": "math.round",
    "RSQRT": "math.rsqrt",
    "SIGN": "math.sign",
    "SIN": "math.sin",
    "SQRT": "math.sqrt",
    "SQUARE": "math.square",
}
"""TensorFlow's function of each op that no layer stands for."""


def function_named(b: Builder, dotted: str) -> Any:
    """A function of TensorFlow by its name in it."""
    found = b.tf
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def elementwise(b: Builder, op: Op, call: Any) -> None:
    """Put what a function makes of the first input."""
    b.put(op, on_last(b.value(op.inputs[0]), call))


@rebuilds(*FUNCTIONS)
def function(b: Builder, op: Op) -> None:
    """A function of TensorFlow."""
    elementwise(b, op, lambda x: function_named(b, FUNCTIONS[op.name])(x))


@rebuilds("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "ELU", "LOGISTIC")
def plain(b: Builder, op: Op) -> None:
    """An activation without options."""
    elementwise(b, op, lambda x: b.activation(op.name, x, op.layer_name))


@rebuilds("SOFTMAX")
def softmax(b: Builder, op: Op) -> None:
    """Softmax over the last axis, its temperature as a scaling in front."""

    def call(x: Any) -> Any:
        if op.options.beta not in (0.0, 1.0):
            x = b.layers.Rescaling(op.options.beta, name=f"{op.layer_name}_beta")(x)
        return b.activation("SOFTMAX", x, op.layer_name)

    elementwise(b, op, call)


@rebuilds("GELU")
def gelu(b: Builder, op: Op) -> None:
    """Gaussian error linear unit, exact or by the hyperbolic tangent."""
    elementwise(b, op, lambda x: b.tf.nn.gelu(x, approximate=bool(op.options.approximate)))


@rebuilds("LEAKY_RELU")
def leaky_relu(b: Builder, op: Op) -> None:
    """Leaky ReLU."""
    elementwise(b, op, lambda x: b.layers.LeakyReLU(op.options.alpha, name=op.layer_name)(x))


@rebuilds("HARD_SWISH")
def hard_swish(b: Builder, op: Op) -> None:
    """x · relu6(x + 3) / 6 in the layers that the converter fuses."""

    def call(x: Any) -> Any:
        name = op.layer_name
        shifted = b.layers.Rescaling(1.0, offset=3.0, name=f"{name}_shift")(x)
        scaled = b.layers.Rescaling(1 / 6, name=f"{name}_scale")(b.layers.ReLU(6.0, name=f"{name}_clip")(shifted))
        return b.layers.Multiply(name=name)([x, scaled])

    elementwise(b, op, call)


@rebuilds("PRELU")
def prelu(b: Builder, op: Op) -> None:
    """Parametric ReLU, shared over the axes where the file has one slope."""
    x, slope = b.tensor(op), b.constant(op, 1)
    rank = len(x.shape) - 1
    if slope.ndim > rank:
        if slope.shape[0] != 1:
            raise Refused("has a slope for each sample")
        slope = slope[0]
    slope = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    shared = [axis + 1 for axis, size in enumerate(slope.shape) if size == 1 and x.shape[axis + 1] != 1]
    layer = b.layers.PReLU(shared_axes=shared or None, name=op.layer_name)
    b.weigh(layer, [slope])
    b.put(op, layer(x))


@rebuilds("CAST")
def cast(b: Builder, op: Op) -> None:
    """Another type of number; none where all that reads the result are layers that cast by themselves."""
    made = op.outputs[0]
    readers = b.graph.readers.get(made, [])
    if readers and all(_casts(b, reader, op) for reader in readers) and made not in b.graph.outputs:
        b.values[made] = b.tensor(op)
    else:
        elementwise(b, op, lambda x: b.tf.cast(x, b.graph.dtype(made)))


def _casts(b: Builder, reader: Op, op: Op) -> bool:
    """Whether a reader becomes an Embedding, or a Rescaling of an input, as pixels have."""
    made = op.outputs[0]
    if reader.name == "GATHER":
        return reader.inputs[1] == made and b.known(reader.inputs[0])
    other = b.graph.other_input(reader, made)
    scales = reader.name in ("MUL", "ADD", "SUB") or (reader.name == "DIV" and reader.inputs[0] == made)
    return scales and other is not None and b.known(other) and op.inputs[0] in b.graph.inputs


@rebuilds("L2_NORMALIZATION")
def l2_normalization(b: Builder, op: Op) -> None:
    """To length 1 over the last axis."""
    elementwise(b, op, lambda x: b.tf.math.l2_normalize(x, axis=-1))
