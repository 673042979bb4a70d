"""Whether a `.tflite` can be rebuilt, as far as its ops tell: known without TensorFlow, before any compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litemill.flatbuffer.reader import ints
from litemill.models.rebuild import ops as ops  # fills the table
from litemill.models.rebuild.folding import known_tensors
from litemill.models.rebuild.graph import FileGraph, Op
from litemill.models.rebuild.table import TABLE

CONTROL_FLOW = ("WHILE", "IF", "CALL_ONCE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE")
REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        CONTROL_FLOW, "runs another subgraph, as GRU and other loops do, which no layer converts back into"
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "clips its cell, which no Keras layer does",
    "DEQUANTIZE": "makes numbers of quantized ones",
    "QUANTIZE": "rounds its input",
}
"""Why, for ops of which more can be said than that they are not in the table."""
OUTSIDE = "has no Keras layer that converts back into it"
MOST_NAMED = 3


def obstacle(model: Any) -> str:
    """Why an opened `.tflite` cannot be rebuilt, naming op and place; empty where no op speaks against it.

    What depends on more than the type of an op (a batch that is merged with another axis, say) shows when it is
    rebuilt.
    """
    graph = FileGraph(model)
    known = known_tensors(graph)
    computed = [op for op in graph.ops if not (op.outputs and known.issuperset(op.outputs))]
    found = [f"{graph.place(op)} {_reason(model, op)}" for op in computed if op.name not in TABLE]
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return "; ".join(found[:MOST_NAMED]) + more
    if len(model.subgraphs) > 1:
        return f"it has {len(model.subgraphs)} subgraphs, of which one alone can be rebuilt"
    for index in graph.inputs:
        if not graph.shape(index) or graph.shape(index)[0] != 1:
            return f"input {graph.name(index)!r} has the shape {graph.shape(index)}, without a batch of 1"
        if -1 in (sizes := ints(graph.graph.tensors[index].shapeSignature)[1:]):
            return f"input {graph.name(index)!r} leaves sizes of a sample free: {sizes}"
    return ""


def _reason(model: Any, op: Op) -> str:
    code = model.operatorCodes[model.subgraphs[0].operators[op.at].opcodeIndex]
    return "is a custom op" if code.customCode and op.name not in REASONS else REASONS.get(op.name, OUTSIDE)
