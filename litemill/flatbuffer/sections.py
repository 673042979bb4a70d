"""What the bytes of a `.tflite` are spent on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from litemill.flatbuffer.reader import ints, parse_model, schema

SECTIONS = ("weights", "quantization", "names", "metadata", "graph")
NAME_SLOT = 10
"""Place of a tensor's name in its table."""
LENGTH_BYTES = 4


def measure_sections(data: bytes) -> dict[str, int]:
    """Bytes by section, which add up to the file.

    Args:
        data: A `.tflite`.

    Returns:
        `weights` (constants of tensors), `quantization` (scales, zero points, ranges), `names` (of tensors), `metadata`
        and `graph` (the rest: ops, shapes, tables, padding). What several tensors share counts once.

    Raises:
        InputError: `data` is no `.tflite` or damaged.
    """
    model = parse_model(data, where="the file")
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors or []]
    described = {entry.buffer for entry in model.metadata or []} | set(ints(model.metadataBuffer))
    numbers = {tensor.buffer for tensor in tensors} - described
    spans = {
        "weights": _spans(data, (model.buffers[number].data for number in numbers)),
        "metadata": _spans(data, (model.buffers[number].data for number in described)),
        "quantization": _spans(data, _quantization_vectors(tensors)),
        "names": set(_name_spans(data)),
    }
    sizes = {section: sum(size for _, size in places) for section, places in spans.items()}
    return {section: sizes.get(section, len(data) - sum(sizes.values())) for section in SECTIONS}


def _quantization_vectors(tensors: list[Any]) -> Iterator[Any]:
    for tensor in tensors:
        if tensor.quantization is not None:
            held = tensor.quantization
            yield from (held.scale, held.zeroPoint, held.min, held.max)


def _spans(data: bytes, vectors: Iterator[Any]) -> set[tuple[int, int]]:
    """Place and size of each vector, its length field included; vectors are views of `data`."""
    start = np.frombuffer(data, np.uint8).ctypes.data
    return {
        (vector.ctypes.data - start, vector.nbytes + LENGTH_BYTES)
        for vector in vectors
        if vector is not None and len(vector)
    }


def _name_spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Place and size of each tensor's name, its length field and final zero included."""
    root = schema().Model.GetRootAs(data, 0)
    for graph in (root.Subgraphs(index) for index in range(root.SubgraphsLength())):
        for tensor in (graph.Tensors(index) for index in range(graph.TensorsLength())):
            slot = tensor._tab.Offset(NAME_SLOT)
            if slot:
                yield tensor._tab.Vector(slot), len(tensor.Name()) + LENGTH_BYTES + 1
