"""A float `.tflite` in the form that litert-quantizer takes."""

from __future__ import annotations

from typing import Any

from litemill.convert.batch import SIGNATURE
from litemill.flatbuffer.reader import ints, parse_model, text


def prepared(data: bytes) -> bytes:
    """A `.tflite` in the form that litert-quantizer takes: unique tensor names, its own buffer for each constant, and
    one signature.

    A slimmed file has none of that: names are dropped and equal buffers merged.

    Raises:
        InputError: `data` is no `.tflite` or damaged.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    model = parse_model(data, where="the source")
    names: set[str] = set()
    buffers: set[int] = set()
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            name = text(tensor.name)
            if not name or name in names:
                name = _free(f"{name or 'tensor'}_{index}", names)
                tensor.name = name.encode()
            names.add(name)
            if tensor.buffer in buffers and model.buffers[tensor.buffer].data is not None:
                model.buffers.append(schema.BufferT(data=model.buffers[tensor.buffer].data))
                tensor.buffer = len(model.buffers) - 1
            buffers.add(tensor.buffer)
    own = [signature for signature in model.signatureDefs or [] if signature.subgraphIndex == 0]
    model.signatureDefs = own[:1] or [_signature(model.subgraphs[0], schema)]
    return bytes(convert_object_to_bytearray(model))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _signature(graph: Any, schema: Any) -> Any:
    """The signature of the main graph, inputs and outputs under the names of their tensors."""

    def named(indices: Any) -> list[Any]:
        return [schema.TensorMapT(graph.tensors[index].name, index) for index in ints(indices)]

    return schema.SignatureDefT(named(graph.inputs), named(graph.outputs), SIGNATURE, 0)
