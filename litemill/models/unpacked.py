"""A `.tflite` whose weights are stored as float16 or integers, as the float32 file that it stands for."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError
from litemill.flatbuffer.reader import DTYPE_NAMES, constant, ints, op_name, parse_model, schema, text
from litemill.slim.sharing import pack_shared

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
FLOAT_FILE = "Give the float32 file it was made from"
FLOATS = ("float32", "float16")
"""Types in which weights are as they were trained, but for rounding that changes no prediction to speak of."""


class FloatFile:
    """A `.tflite` with float32 weights: the file itself, or its float32 counterpart in a folder that goes with this.

    Args:
        source: The file.
        packed: Whether it stores weights as something else.

    Attributes:
        path: The float32 file.

    Raises:
        InputError: It is damaged, or packed in a way that is not known.
    """

    def __init__(self, source: Path, *, packed: bool) -> None:
        self.path, self._folder = source, None
        if packed:
            self._folder = tempfile.TemporaryDirectory(prefix="litemill-")
            self.path = Path(self._folder.name) / source.name
            self.path.write_bytes(unpacked(source.read_bytes(), where=str(source)))


def unpacked(data: bytes, *, where: str) -> bytes:
    """The same model with float32 weights and activations, each weight with the value that it is rounded to.

    Args:
        data: A `.tflite`.
        where: Names it in errors.

    Returns:
        A float32 file, without the ops that quantize and dequantize; `data` itself where nothing in it is packed.

    Raises:
        InputError: It is damaged, or packed in a way that is not known.
    """
    model = parse_model(data, where=where)
    if not any(_packed(tensor) for graph in model.subgraphs for tensor in graph.tensors):
        return data
    source = parse_model(data, where=where)
    model.buffers = [schema().BufferT()]
    for graph, before in zip(model.subgraphs, source.subgraphs, strict=True):
        for tensor, packed in zip(graph.tensors, before.tensors, strict=True):
            _unpack(model, tensor, source, packed, where)
        _without_conversions(model, graph)
    model.metadata, model.metadataBuffer = None, None  # they point at buffers that are gone
    return pack_shared(model)


def without_conversions(data: bytes, *, where: str) -> Any:
    """The opened model without the ops that quantize and dequantize, its weights as they are stored.

    Raises:
        InputError: It is damaged, or packed in a way that is not known.
    """
    model = parse_model(data, where=where)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            _check_packing(tensor, where)
        _without_conversions(model, graph)
    return model


def _check_packing(tensor: Any, where: str) -> None:
    """Refuse weights whose values are not one scale times each stored number.

    Raises:
        InputError: They are sparse, or scaled in blocks.
    """
    blocks = getattr(tensor.quantization, "details", None)
    if tensor.sparsity is not None or getattr(blocks, "blockSize", False):
        what = f"tensor {text(tensor.name)!r} is {'sparse' if tensor.sparsity is not None else 'scaled in blocks'}"
        raise InputError(f"{what}, which cannot be taken as float32", where=where, fix=FLOAT_FILE)


def _packed(tensor: Any) -> bool:
    """Whether a tensor's numbers are not stored as what they mean."""
    scaled = (
        tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale)
    )
    return bool(scaled) or DTYPE_NAMES.get(tensor.type) == "float16"


def _unpack(model: Any, tensor: Any, source: Any, packed: Any, where: str) -> None:
    """Give a tensor of the new model float32 values in a buffer of its own."""
    stored = source.buffers[packed.buffer]
    buffer = schema().BufferT()
    if _packed(packed):
        values = constant(source, packed)
        if values is None and stored.data is not None and len(stored.data):
            raise InputError(f"tensor {text(packed.name)!r} is packed in a way that is not known", where=where)
        if values is not None:
            buffer.data = np.frombuffer(_real(values, packed, where).tobytes(), np.uint8)
        tensor.type, tensor.quantization, tensor.sparsity = schema().TensorType.FLOAT32, None, None
    else:
        buffer.data = copy.copy(stored.data)
    tensor.buffer = 0
    if buffer.data is not None and len(buffer.data):
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1


def _real(values: NDArray[Any], tensor: Any, where: str) -> NDArray[np.float32]:
    """What stored values mean: scale · (value − zero point), by channel where there are several scales.

    Raises:
        InputError: They are packed in a way that is not known, or too few.
    """
    shape, quantization = ints(tensor.shape), tensor.quantization
    _check_packing(tensor, where)
    if values.size != int(np.prod(shape)):
        raise InputError(f"tensor {text(tensor.name)!r} has {values.size} values for the shape {shape}", where=where)
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return values.astype(np.float32)
    scale = np.asarray(quantization.scale, np.float64)
    zero = np.asarray(quantization.zeroPoint if quantization.zeroPoint is not None else [0], np.float64)
    by_axis = [1] * len(shape)
    if len(scale) > 1:
        by_axis[quantization.quantizedDimension] = -1
    found = values.reshape(shape).astype(np.float64)
    zero = zero.reshape(by_axis) if len(zero) > 1 else zero[:1].reshape([1] * len(shape))
    return ((found - zero) * scale.reshape(by_axis)).astype(np.float32)


def _without_conversions(model: Any, graph: Any) -> None:
    """Drop the ops that quantize and dequantize: what reads their result reads what they took."""
    taken = {
        ints(op.outputs)[0]: ints(op.inputs)[0] for op in graph.operators or [] if op_name(model, op) in CONVERSIONS
    }

    def behind(index: int) -> int:
        while index in taken:
            index = taken[index]
        return index

    for index in ints(graph.outputs):
        if index in taken:
            graph.tensors[behind(index)].name = graph.tensors[index].name
    graph.operators = [op for op in graph.operators or [] if op_name(model, op) not in CONVERSIONS]
    for op in graph.operators:
        op.inputs = np.array([behind(index) for index in ints(op.inputs)], np.int32)
    graph.outputs = np.array([behind(index) for index in ints(graph.outputs)], np.int32)
    for signature in model.signatureDefs or []:
        for entry in [*(signature.inputs or []), *(signature.outputs or [])]:
            entry.tensorIndex = behind(entry.tensorIndex)
