"""Let a quantized file take pixels as the bytes they are, without a detour over floats.

A model that takes `uint8` and scales it itself is converted to CAST to float32, then QUANTIZE to int8. TFLM has no CAST
of bytes; and QUANTIZE alone does both, if the input says that a byte stands for its own value: scale 1, zero point 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litemill.flatbuffer.reader import DTYPE_NAMES, ints, op_name, parse_model
from litemill.slim.sharing import pack_shared

FROM, TO = "uint8", "int8"


def quantize_bytes(data: bytes) -> bytes:
    """Put one QUANTIZE in place of CAST and QUANTIZE behind each input of bytes.

    Args:
        data: A converted `.tflite`.

    Returns:
        The same bytes where there is nothing of the kind.
    """
    model = parse_model(data, where="converted model")
    graph = model.subgraphs[0]
    casts = [op for op in graph.operators or [] if op_name(model, op) == "CAST" and _only_quantized(model, graph, op)]
    if not casts:
        return data
    for cast in casts:
        source, middle = ints(cast.inputs)[0], ints(cast.outputs)[0]
        graph.tensors[source].quantization = schema.QuantizationParametersT(
            scale=np.array([1.0], np.float32), zeroPoint=np.array([0], np.int64)
        )
        for op in _readers(graph, middle):
            op.inputs = np.array([source], np.int32)
    graph.operators = [op for op in graph.operators if op not in casts]
    return pack_shared(model)


def _readers(graph: Any, index: int) -> list[Any]:
    return [op for op in graph.operators if index in ints(op.inputs)]


def _only_quantized(model: Any, graph: Any, cast: Any) -> bool:
    """Whether a CAST makes floats of an input of bytes, which nothing does anything with but QUANTIZE to int8."""
    source, middle = ints(cast.inputs)[0], ints(cast.outputs)[0]
    if source not in ints(graph.inputs) or DTYPE_NAMES.get(graph.tensors[source].type) != FROM:
        return False
    readers = _readers(graph, middle)
    return (
        len(_readers(graph, source)) == 1
        and middle not in ints(graph.outputs)
        and bool(readers)
        and all(
            op_name(model, op) == "QUANTIZE" and DTYPE_NAMES.get(graph.tensors[ints(op.outputs)[0]].type) == TO
            for op in readers
        )
    )
