"""What a `.tflite` computes and stores: ops, fused activations, inputs and outputs, weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from litemill.evidence.base import TensorInfo
from litemill.evidence.graph import GraphReport, WeightInfo
from litemill.flatbuffer.delegation import predict_delegation
from litemill.flatbuffer.macs import op_macs
from litemill.flatbuffer.reader import (
    ACTIVATION_NAMES,
    DTYPE_NAMES,
    constant,
    elements,
    ints,
    op_name,
    parse_model,
    read_bytes,
    text,
)
from litemill.flatbuffer.sections import measure_sections

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
FLOATS = ("float16", "float32", "float64")
NO_ACTIVATION = "NONE"
BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "CONV_3D": 2, "TRANSPOSE_CONV": 3}
"""Place of the bias among the inputs, by op."""


def read_graph(path: Path) -> GraphReport:
    """Read what a `.tflite` holds.

    Args:
        path: The file; ours or not.

    Returns:
        Counts over all subgraphs, tensors of the first one's signature, every weight in the order of the file.

    Raises:
        InputError: The file is missing, is no `.tflite` or is damaged.
    """
    data = read_bytes(path)
    found = report(parse_model(data, where=str(path)))
    return found.model_copy(update={"sections": measure_sections(data)})


def report(model: Any) -> GraphReport:
    """As `read_graph`, from the opened model."""
    ops = [(graph, op) for graph in model.subgraphs for op in graph.operators or []]
    fused = (getattr(op.builtinOptions, "fusedActivationFunction", 0) for _, op in ops)
    activations = Counter(ACTIVATION_NAMES.get(code, str(code)) for code in fused)
    del activations[NO_ACTIVATION]
    macs: Counter[str] = Counter()
    for graph, op in ops:
        macs[op_name(model, op)] += op_macs(model, graph, op)
    main = model.subgraphs[0]
    found = weights(model)
    return GraphReport(
        ops=dict(Counter(op_name(model, op) for _, op in ops).most_common()),
        fused_activations=dict(activations.most_common()),
        inputs=[tensor_info(main.tensors[index]) for index in ints(main.inputs)],
        outputs=[tensor_info(main.tensors[index]) for index in ints(main.outputs)],
        weights=found,
        sparsity=overall_sparsity(found),
        biases=sum(_adds_bias(model, op) for _, op in ops),
        macs=sum(macs.values()),
        macs_by_op={name: count for name, count in macs.most_common() if count},
        conversions=_conversions(model, ops),
        float_ops=dict(Counter(op_name(model, op) for graph, op in ops if _writes_float(graph, op)).most_common()),
        delegation=predict_delegation(model),
    )


def _conversions(model: Any, ops: list[tuple[Any, Any]]) -> int:
    """QUANTIZE and DEQUANTIZE ops, but for those that unpack a constant."""
    return sum(
        op_name(model, op) in CONVERSIONS and constant(model, graph.tensors[ints(op.inputs)[0]]) is None
        for graph, op in ops
    )


def _adds_bias(model: Any, op: Any) -> bool:
    """Whether an op has a bias among its inputs: the one behind its weights."""
    place, inputs = BIAS.get(op_name(model, op)), ints(op.inputs)
    return place is not None and len(inputs) > place and inputs[place] >= 0


def _writes_float(graph: Any, op: Any) -> bool:
    return any(DTYPE_NAMES.get(graph.tensors[index].type) in FLOATS for index in ints(op.outputs))


def tensor_info(tensor: Any) -> TensorInfo:
    """Name, shape (−1 where free), dtype and per-tensor quantization of a tensor."""
    signature = ints(tensor.shapeSignature)
    scales = [] if tensor.quantization is None else list(floats(tensor.quantization.scale))
    return TensorInfo(
        name=text(tensor.name),
        shape=signature or ints(tensor.shape),
        dtype=DTYPE_NAMES.get(tensor.type, str(tensor.type)),
        scale=scales[0] if scales else 0.0,
        zero_point=ints(tensor.quantization.zeroPoint)[0] if scales else 0,
    )


def floats(vector: Any) -> list[float]:
    """A numeric vector of the schema as floats, absent ones as empty."""
    return [] if vector is None else [float(value) for value in vector]


def weights(model: Any) -> list[WeightInfo]:
    """Every constant that is a weight: of a float type or quantized, so no shapes, axes and paddings.

    A float16 weight that a DEQUANTIZE unpacks is listed under the op that reads the unpacked values.
    """
    found = []
    for graph in model.subgraphs:
        readers = _readers(model, graph)
        for index, tensor in enumerate(graph.tensors):
            dtype = DTYPE_NAMES.get(tensor.type, "")
            scales = floats(tensor.quantization.scale) if tensor.quantization else []
            blocks = bool(getattr(getattr(tensor.quantization, "details", None), "blockSize", 0))
            values = constant(model, tensor) if dtype in FLOATS or scales or blocks else None
            if values is None or index not in readers:
                continue
            zero_points = ints(tensor.quantization.zeroPoint) if scales else []
            size = len(model.buffers[tensor.buffer].data)
            found.append(_weight(tensor, dtype, values, zero_points, readers[index]).model_copy(update={"bytes": size}))
    return found


def _weight(tensor: Any, dtype: str, values: Any, zero_points: list[int], op: str) -> WeightInfo:
    """Zeros are elements equal to the zero point; one that is not stored (sparse encoding) is zero too."""
    zero = zero_points[0] if len(set(zero_points)) == 1 else 0
    total = max(elements(tensor), 1)
    return WeightInfo(
        name=text(tensor.name),
        op=op,
        shape=ints(tensor.shape),
        dtype=dtype,
        sparsity=max(0.0, 1.0 - int(np.count_nonzero(values != zero)) / total),
        distinct=len(np.unique(values)),
    )


def _readers(model: Any, graph: Any) -> dict[int, str]:
    """Type of the first op that reads each tensor, looking through DEQUANTIZE."""
    readers: dict[int, str] = {}
    for op in reversed(graph.operators or []):
        name = op_name(model, op)
        if name == "DEQUANTIZE":
            name = readers.get(ints(op.outputs)[0], name)
        readers |= dict.fromkeys(ints(op.inputs), name)
    return readers


def is_integer_only(model: Any) -> bool:
    """Whether the model computes with no tensor of a float type."""
    return not float_tensors(model)


def op_positions(model: Any) -> dict[str, int]:
    """Position of the op of the main graph that writes a tensor, by the tensor's name.

    An output that is converted at the end of the graph keeps its name behind the conversion: there it is the op before.
    """
    graph = model.subgraphs[0]
    writers: dict[int, int] = {}
    found: dict[str, int] = {}
    for at, op in enumerate(graph.operators or []):
        source = writers.get(ints(op.inputs)[0]) if op_name(model, op) in CONVERSIONS else None
        for index in ints(op.outputs):
            writers[index] = at if source is None else source
            if name := text(graph.tensors[index].name):
                found[name] = writers[index]
    return found


def float_tensors(model: Any) -> list[str]:
    """Names of the float tensors that a model computes with, in their order.

    An LSTM lists the ranges between its gates as `intermediates`: tensors without any value, whose type says nothing.
    """
    return [
        text(graph.tensors[index].name)
        for graph in model.subgraphs
        for index in sorted(_computed_with(graph))
        if DTYPE_NAMES.get(graph.tensors[index].type) in FLOATS
    ]


def _computed_with(graph: Any) -> set[int]:
    """Tensors of a graph that are its inputs or outputs, or those of an op."""
    used = {*ints(graph.inputs), *ints(graph.outputs)}
    for op in graph.operators or []:
        used.update(ints(op.inputs), ints(op.outputs))
    return used - {-1}


def overall_sparsity(found: list[WeightInfo]) -> float:
    """Fraction of zeros over all weights of two or more dimensions; 0 where there are none."""
    sizes = np.array([np.prod(weight.shape) for weight in found if len(weight.shape) > 1])
    zeros = np.array([weight.sparsity for weight in found if len(weight.shape) > 1])
    return float((sizes * zeros).sum() / sizes.sum()) if sizes.size else 0.0
