"""Multiply-accumulate operations of a `.tflite`, op by op, for batch 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from litemill.flatbuffer.reader import elements, ints, op_name

DATA, WEIGHTS = 0, 1
TRANSPOSE_CONV_DATA = 2


def op_macs(model: Any, graph: Any, op: Any) -> int:
    """Multiply-accumulates of one op; 0 for those that have none worth counting (additions, activations, pooling).

    A convolution does its kernel's height · width · input channels for each output element, a depthwise one height ·
    width, a dense layer its input width; a transposed convolution height · width · output channels for each element
    it reads.
    """
    inputs, outputs = ints(op.inputs), ints(op.outputs)
    shapes = {index: ints(graph.tensors[index].shape) for index in (*inputs, *outputs) if index >= 0}
    produced = sum(elements(graph.tensors[index]) for index in outputs)
    if len(inputs) > WEIGHTS and not shapes.get(inputs[WEIGHTS]):
        # Weights that are computed at run time may come without a shape; a dense layer's width is its input's too.
        return produced * (shapes[inputs[DATA]] or [0])[-1] if op_name(model, op) == "FULLY_CONNECTED" else 0
    match op_name(model, op):
        case "CONV_2D" | "CONV_3D":
            return produced * _product(shapes[inputs[WEIGHTS]][1:])
        case "DEPTHWISE_CONV_2D":
            return produced * _product(shapes[inputs[WEIGHTS]][1:3])
        case "FULLY_CONNECTED":
            return produced * shapes[inputs[WEIGHTS]][-1]
        case "TRANSPOSE_CONV":
            read = elements(graph.tensors[inputs[TRANSPOSE_CONV_DATA]])
            return read * _product(shapes[inputs[WEIGHTS]][:3])
        case "BATCH_MATMUL":
            return produced * shapes[inputs[DATA]][-1]
    return 0


def _product(sizes: list[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
