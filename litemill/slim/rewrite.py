"""Make a `.tflite` smaller without changing an output bit: drop what no runtime reads, store what is equal once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from litemill.config.base import nearest
from litemill.errors import ConfigError, StepFailed
from litemill.flatbuffer.reader import EXTERNAL, ints, parse_model, text
from litemill.slim.sharing import fingerprint, pack_shared

KEEP = ("names", "signatures", "metadata")
"""What a user may ask to keep; nothing else that could be read is ever dropped."""

DEFAULT_KEEP = ("signatures",)

INFORMATIVE = frozenset({"min_runtime_version", "CONVERSION_METADATA", "TFLITE_METADATA"})
"""Metadata that describes; any other entry (a memory plan, leave to compute in float16) steers a runtime and stays."""


def slim(data: bytes, keep: Iterable[str] = DEFAULT_KEEP) -> bytes:
    """Rebuild a `.tflite` as small as its content allows.

    Args:
        data: The file.
        keep: Of `KEEP`. `names` are those of all tensors; with `signatures` inputs and outputs keep theirs.

    Returns:
        The smaller file, or `data` itself where nothing was gained.

    Raises:
        InputError: `data` is no `.tflite` or damaged.
        ConfigError: `keep` holds something else.
        StepFailed: The file has parts outside its flatbuffer, which stay untouched.
    """
    kept = check_keep(keep)
    model = parse_model(data, where="the file to slim")
    refuse_external(model, data)
    reduce(model, kept)
    smaller = pack_shared(model)
    return smaller if len(smaller) < len(data) else data


def check_keep(keep: Iterable[str]) -> frozenset[str]:
    """What is to be kept.

    Raises:
        ConfigError: Something else than `KEEP` is named (the nearest is offered).
    """
    kept = frozenset(keep)
    for name in sorted(kept - set(KEEP)):
        raise ConfigError(f"cannot keep {name!r}; {nearest(name, KEEP)}")
    return kept


def canonical_digest(data: bytes) -> str:
    """SHA-256 of a `.tflite` without names, metadata and layout: equal where two files compute the same.

    Raises:
        InputError: `data` is no `.tflite` or damaged.
    """
    model = parse_model(data, where="the file")
    reduce(model, frozenset())
    return hashlib.sha256(pack_shared(model)).hexdigest()


def refuse_external(model: Any, data: bytes) -> None:
    """Refuse a file that refers to bytes behind or beside its flatbuffer.

    Raises:
        StepFailed: It does.
    """
    outside = any((buffer.offset or 0) > EXTERNAL for buffer in model.buffers) or model.externalBuffers
    options = any(
        (op.largeCustomOptionsOffset or 0) > EXTERNAL for graph in model.subgraphs for op in graph.operators or []
    )
    if outside or options:
        raise StepFailed("weights stand outside the flatbuffer (a file for more than 2 GB), which stays untouched")
    if zipfile.is_zipfile(io.BytesIO(data)):
        raise StepFailed("associated files are appended to it, which stay untouched")


def reduce(model: Any, keep: frozenset[str]) -> None:
    """Drop from an opened model, in place, what is asked and what is never read."""
    if "signatures" not in keep:
        model.signatureDefs = None
    if "metadata" not in keep:
        model.description = None
        model.metadata = [entry for entry in model.metadata or [] if text(entry.name) not in INFORMATIVE] or None
    model.metadataBuffer = None if model.metadata is None else model.metadataBuffer
    for index, graph in enumerate(model.subgraphs):
        _drop_unread(graph, keep, debug=model.metadata is not None)
        _drop_unused_tensors(model, index, graph)
    _drop_unused_operator_codes(model)
    _merge_buffers(model)


def _drop_unread(graph: Any, keep: frozenset[str], *, debug: bool) -> None:
    """Names, ranges, and fields that say what another says already."""
    named = {*ints(graph.inputs), *ints(graph.outputs)} if "signatures" in keep else set()
    for index, tensor in enumerate(graph.tensors or []):
        if "names" not in keep and index not in named:
            tensor.name = b""
        if tensor.shapeSignature is not None and ints(tensor.shapeSignature) == ints(tensor.shape):
            tensor.shapeSignature = None
        quantization = tensor.quantization
        if quantization is not None:
            quantization.min = quantization.max = None
            if _is_empty(quantization.scale) and _is_empty(quantization.zeroPoint) and quantization.details is None:
                tensor.quantization = None
    if "names" not in keep:
        graph.name = None
    for op in graph.operators or []:
        op.intermediates = None if _is_empty(op.intermediates) else op.intermediates
        op.customOptions = None if _is_empty(op.customOptions) else op.customOptions
        if op.mutatingVariableInputs is not None and not np.any(op.mutatingVariableInputs):
            op.mutatingVariableInputs = None
        op.debugMetadataIndex = op.debugMetadataIndex if debug else -1
    graph.debugMetadataIndex = graph.debugMetadataIndex if debug else -1


def _is_empty(vector: Any) -> bool:
    return vector is None or len(vector) == 0


def _drop_unused_tensors(model: Any, index: int, graph: Any) -> None:
    """Remove tensors that no op, input, output or signature refers to, and renumber the others."""
    signatures = [item for item in model.signatureDefs or [] if item.subgraphIndex == index]
    entries = [entry for item in signatures for entry in [*(item.inputs or []), *(item.outputs or [])]]
    used = {*ints(graph.inputs), *ints(graph.outputs), *(entry.tensorIndex for entry in entries)}
    for op in graph.operators or []:
        used |= {*ints(op.inputs), *ints(op.outputs), *ints(op.intermediates)}
    order = [old for old in range(len(graph.tensors or [])) if old in used]
    if len(order) == len(graph.tensors or []):
        return
    new = {old: position for position, old in enumerate(order)} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in order]
    for holder in (graph, *(graph.operators or [])):
        for field in ("inputs", "outputs", "intermediates"):
            vector = getattr(holder, field, None)
            if vector is not None:
                setattr(holder, field, np.array([new[int(old)] for old in vector], np.int32))
    for entry in entries:
        entry.tensorIndex = new[entry.tensorIndex]


def _drop_unused_operator_codes(model: Any) -> None:
    """Keep the operator codes that ops use, each once, in order of first use."""
    codes: dict[Any, int] = {}
    kept: list[Any] = []
    for graph in model.subgraphs:
        for op in graph.operators or []:
            code = model.operatorCodes[op.opcodeIndex]
            key = fingerprint(code)
            if key not in codes:
                codes[key] = len(kept)
                kept.append(code)
            op.opcodeIndex = codes[key]
    model.operatorCodes = kept


def _merge_buffers(model: Any) -> None:
    """Keep one buffer for each distinct content in order of first use; the first, always empty, serves all without."""
    empty = type(model.buffers[0])()
    kept, numbers = [empty], {b"": 0}

    def number(old: int) -> int:
        data = model.buffers[old].data
        content = b"" if data is None else data.tobytes()
        if content not in numbers:
            numbers[content] = len(kept)
            kept.append(model.buffers[old])
        return numbers[content]

    for graph in model.subgraphs:
        for tensor in graph.tensors or []:
            tensor.buffer = number(tensor.buffer)
    for entry in model.metadata or []:
        entry.buffer = number(entry.buffer)
    if model.metadataBuffer is not None:
        model.metadataBuffer = np.array([number(int(old)) for old in model.metadataBuffer], np.int32)
    model.buffers = kept
