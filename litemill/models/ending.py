"""Whether a model's outputs are logits or probabilities: read from its last layer, else from the outputs themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError
from litemill.flatbuffer.reader import ints, op_name, read_model
from litemill.tasks import OutputIs

PROBABILITIES = frozenset({"sigmoid", "hard_sigmoid", "softmax", "logistic"})
"""Activations, in lower case, after which outputs are probabilities."""
LINEAR = ("dense", "conv", "fully_connected", "matmul", "batch_matmul", "batchmatmul")
"""What the name of a layer or op has in it whose outputs are logits where it has no activation."""
KEEPING_LAYERS = frozenset({"reshape", "flatten", "permute", "dropout", "identity", "activation"})
KEEPING_OPS = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE"})
KEEPING_NODES = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "BiasAdd", "Cast"})
"""What changes no value that matters here: the walk goes on behind it."""
ROUNDING = 1e-3


def ending_of_keras(model: Any, output: int = 0) -> OutputIs:
    """What an output of a Keras model of either version is; empty where its last layer does not tell."""
    tensor = model.outputs[output]
    while True:
        history = getattr(tensor, "_keras_history", None)
        if history is None:
            return ""
        layer, position = history[0], history[2]
        if getattr(layer, "layers", None) and getattr(layer, "outputs", None):
            tensor = layer.outputs[position]
            continue
        kind, activation = _layer(layer)
        if kind not in KEEPING_LAYERS or activation not in ("", "linear"):
            return _read(kind, activation)
        inputs = layer._inbound_nodes[history[1]].input_tensors
        tensor = inputs[0] if isinstance(inputs, list | tuple) else inputs


def _layer(layer: Any) -> tuple[str, str]:
    """Type and activation of a layer in lower case; of one that wraps another those of the inner one."""
    layer = getattr(layer, "layer", layer)
    kind = type(layer).__name__.lower()
    if symbol := str(getattr(layer, "symbol", "")):  # tf.sigmoid(x) in a functional model of Keras 2
        return symbol.rpartition(".")[2].lower(), ""
    activation = getattr(layer, "activation", None)
    return kind, str(getattr(activation, "__name__", None) or type(activation).__name__).lower() if activation else ""


def _read(kind: str, activation: str) -> OutputIs:
    if kind in PROBABILITIES or activation in PROBABILITIES:
        return "probabilities"
    linear = activation in ("", "linear") and any(name in kind for name in LINEAR)
    return "logits" if linear else ""


def ending_of_tflite(path: Path, output: int = 0) -> OutputIs:
    """What an output of a `.tflite` is, by the op that makes it; empty where that does not tell."""
    model = read_model(path)
    graph = model.subgraphs[0]
    makers = {index: op for op in graph.operators for index in ints(op.outputs)}
    tensor = ints(graph.outputs)[output]
    while tensor in makers:
        op = makers[tensor]
        name = op_name(model, op)
        if name not in KEEPING_OPS:
            fused = getattr(op.builtinOptions, "fusedActivationFunction", 0)
            return _read(name.lower(), "fused" if fused else "")
        tensor = ints(op.inputs)[0]
    return ""


def ending_of_graph(function: Any, output: int = 0) -> OutputIs:
    """What an output of a signature is, by the node that makes it; empty where that does not tell."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        operation = convert_variables_to_constants_v2(function).outputs[output].op
    except (ValueError, RuntimeError, KeyError, AttributeError):  # tables and other state that cannot be frozen
        return ""
    while operation.type in KEEPING_NODES and operation.inputs:
        operation = operation.inputs[0].op
    return _read(operation.type.lower(), "")


def settled(asked: OutputIs, read: OutputIs, outputs: NDArray[np.floating], where: str) -> OutputIs:
    """What outputs are: as the model says, else the config, else as they look.

    Args:
        asked: `data.output_is` of the config.
        read: What the model says of itself.
        outputs: Of real samples; what is outside 0 to 1 is no probability.
        where: Names the model in errors.

    Raises:
        InputError: The config says something else than the model.
    """
    if asked and read and asked != read:
        last = "a sigmoid or softmax" if read == "probabilities" else "a layer without activation"
        raise InputError(
            f"ends in {last}, but data.output_is says {asked}", where=where, fix="Leave data.output_is out"
        )
    if asked or read:
        return asked or read
    inside = bool((outputs >= -ROUNDING).all() and (outputs <= 1 + ROUNDING).all())
    return "probabilities" if inside else "logits"
