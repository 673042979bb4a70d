"""Open a `.tflite` as the objects of its schema, and the small vocabulary to read them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError

IDENTIFIER = b"TFL3"
EXTERNAL = 1
"""A buffer whose offset is above this stands behind the flatbuffer, in files over 2 GB."""


@cache
def schema() -> Any:
    """The module of the schema's classes, loaded when a file is read: it is large, and a plan needs none of it."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class Names(Mapping[int, str]):
    """The names of an enumeration of the schema by their numbers.

    Args:
        enumeration: Its name in the schema.
        lower: Whether names are in lower case.
    """

    def __init__(self, enumeration: str, *, lower: bool = False) -> None:
        self.enumeration, self.lower = enumeration, lower

    @cached_property
    def _names(self) -> dict[int, str]:
        known = vars(getattr(schema(), self.enumeration))
        found = {value: name for name, value in known.items() if not name.startswith("_")}
        return {value: name.lower() for value, name in found.items()} if self.lower else found

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


OP_NAMES = Names("BuiltinOperator")
DTYPE_NAMES = Names("TensorType", lower=True)
ACTIVATION_NAMES = Names("ActivationFunctionType")

NUMPY_DTYPES: dict[str, Any] = {
    name: np.dtype(name)
    for name in (
        *("float16", "float32", "float64", "bool", "complex64", "complex128"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}
"""numpy dtype by the name of a TensorType, for those stored plainly; int4 and int2 are packed."""

PACKED_BITS = {"int4": 4, "uint4": 4, "int2": 2}


def read_model(path: Path) -> Any:
    """Open a `.tflite`.

    Args:
        path: The file.

    Returns:
        A `schema.ModelT`; its vectors of numbers are numpy arrays.

    Raises:
        InputError: The file is missing, is no `.tflite` or is damaged.
    """
    return parse_model(read_bytes(path), where=str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read ({error.strerror})", where=str(path)) from None


def parse_model(data: bytes | bytearray, *, where: str) -> Any:
    """As `read_model`, from bytes; `where` names them in errors. Vectors are views: a bytearray's can be changed."""
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise InputError("is no .tflite file (it lacks the mark TFL3)", where=where)
    try:
        model = schema().ModelT.InitFromObj(schema().Model.GetRootAs(data, 0))
        for buffer in model.buffers or []:
            if (buffer.offset or 0) > EXTERNAL:
                buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
        _check_references(model)
    except (struct.error, IndexError, ValueError, TypeError, MemoryError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(f"is a damaged .tflite ({type(error).__name__}: {error})", where=where) from None
    return model


def _check_references(model: Any) -> None:
    """Raise IndexError where an index points outside its list, which runtimes may read out of bounds."""
    if not model.subgraphs or not model.buffers:
        raise IndexError("no subgraph or no buffer")
    for graph in model.subgraphs:
        tensors = graph.tensors or []
        indices = [*ints(graph.inputs), *ints(graph.outputs)]
        for op in graph.operators or []:
            if not 0 <= op.opcodeIndex < len(model.operatorCodes):
                raise IndexError(f"operator code {op.opcodeIndex} of {len(model.operatorCodes)}")
            indices += [*ints(op.inputs), *ints(op.outputs)]
        if any(not -1 <= index < len(tensors) for index in indices):
            raise IndexError(f"a tensor index outside the {len(tensors)} there are")
        if any(not 0 <= tensor.buffer < len(model.buffers) for tensor in tensors):
            raise IndexError(f"a buffer index outside the {len(model.buffers)} there are")


def op_name(model: Any, op: Any) -> str:
    """Name of an op's type, as in the schema; a custom op's own name."""
    code = model.operatorCodes[op.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema().BuiltinOperator.CUSTOM and code.customCode:
        return text(code.customCode)
    return OP_NAMES.get(builtin, f"BUILTIN_{builtin}")


def text(value: bytes | str | None) -> str:
    """A string of the schema, which its objects hold as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def signature_names(path: Path) -> tuple[list[str], list[str]]:
    """Names of a file's inputs and outputs in its signature, in the order of its graph; empty where it has none.

    Raises:
        InputError: The file is missing or damaged.
    """
    model = read_model(path)
    if not model.signatureDefs:
        return [], []
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    inputs, outputs = (
        {entry.tensorIndex: text(entry.name) for entry in entries or []}
        for entries in (signature.inputs, signature.outputs)
    )
    return [inputs.get(at, "") for at in ints(graph.inputs)], [outputs.get(at, "") for at in ints(graph.outputs)]


def ints(vector: Any) -> list[int]:
    """A vector of the schema, absent ones as empty."""
    return [] if vector is None else [int(value) for value in vector]


def elements(tensor: Any) -> int:
    """Number of elements of a tensor by its shape."""
    return int(np.prod(ints(tensor.shape), dtype=np.int64))


def constant(model: Any, tensor: Any) -> NDArray[Any] | None:
    """The stored values of a constant tensor, flat, int4 unpacked; None for an activation or an unreadable type."""
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    raw = np.asarray(data, dtype=np.uint8)
    dtype = DTYPE_NAMES.get(tensor.type, "")
    if dtype in PACKED_BITS:
        return unpack(raw, PACKED_BITS[dtype], signed=dtype.startswith("int"))[: elements(tensor)]
    if dtype not in NUMPY_DTYPES or len(raw) % NUMPY_DTYPES[dtype].itemsize:
        return None
    values: NDArray[Any] = raw.view(NUMPY_DTYPES[dtype])
    return values


def unpack(raw: NDArray[np.uint8], bits: int, *, signed: bool) -> NDArray[np.int8]:
    """Unpack little-endian fields of 2 or 4 bits into one byte each."""
    fields = np.stack([(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)], axis=-1).reshape(-1)
    values = fields.astype(np.int8)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int8) if signed else values
