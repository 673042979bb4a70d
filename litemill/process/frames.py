"""Send JSON values, bytes and numpy arrays through a pipe, without pickle."""

from __future__ import annotations

import io
import json
import struct
from pathlib import PurePath
from typing import IO, Any

HEADER = struct.Struct("<QI")
"""Before each frame: bytes of its JSON text, count of the blobs behind it."""
LENGTH = struct.Struct("<Q")
BLOB, KIND = "__blob__", "__kind__"


Frame = list[bytes | memoryview]
"""What goes through the pipe for one value, piece by piece."""


def frame(value: Any) -> Frame:
    """A value as it goes through the pipe.

    Raises:
        TypeError: It holds something else than JSON values, paths, bytes and arrays without Python objects.
        RecursionError: It is nested too deep.
    """
    blobs: list[bytes | memoryview] = []
    text = json.dumps(_packed(value, blobs)).encode()
    pieces: Frame = [HEADER.pack(len(text), len(blobs)), text]
    for blob in blobs:
        pieces += [LENGTH.pack(len(blob)), blob]
    return pieces


def write_frame(pipe: IO[bytes], pieces: Frame) -> None:
    """Write a frame."""
    for piece in pieces:
        pipe.write(piece)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> Any:
    """Read a value; tuples come as lists, paths as strings.

    Raises:
        EOFError: The other side closed the pipe.
    """
    size, count = HEADER.unpack(_exactly(pipe, HEADER.size))
    value = json.loads(_exactly(pipe, size))
    blobs = [_exactly(pipe, LENGTH.unpack(_exactly(pipe, LENGTH.size))[0]) for _ in range(count)]
    return _unpacked(value, blobs)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    found = pipe.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _packed(value: Any, blobs: list[bytes | memoryview]) -> Any:
    """The value with its bytes and arrays replaced by their place among the blobs."""
    if isinstance(value, dict):
        packed = {str(key): _packed(item, blobs) for key, item in value.items()}
        # A foreign configuration may use our key: it must not pass for a place among the blobs.
        return {BLOB: list(packed.items()), KIND: "dict"} if BLOB in packed else packed
    if isinstance(value, list | tuple):
        return [_packed(item, blobs) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bytes | bytearray):
        blobs.append(bytes(value))
        return {BLOB: len(blobs) - 1, KIND: "bytes"}
    if type(value).__module__ == "numpy":
        return _packed_array(value, blobs)
    return value


def _packed_array(value: Any, blobs: list[bytes | memoryview]) -> Any:
    import numpy as np

    buffer = io.BytesIO()
    try:
        np.save(buffer, value, allow_pickle=False)
    except ValueError as error:
        raise TypeError(f"arrays of Python objects are not sent: {error}") from None
    blobs.append(buffer.getbuffer())
    return {BLOB: len(blobs) - 1, KIND: "scalar" if isinstance(value, np.generic) else "array"}


def _unpacked(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, blobs) for item in value]
    if not isinstance(value, dict):
        return value
    if BLOB not in value:
        return {key: _unpacked(item, blobs) for key, item in value.items()}
    if value[KIND] == "dict":
        return {key: _unpacked(item, blobs) for key, item in value[BLOB]}
    blob = blobs[value[BLOB]]
    if value[KIND] == "bytes":
        return blob
    import numpy as np

    found = np.load(io.BytesIO(blob), allow_pickle=False)
    return found[()] if value[KIND] == "scalar" else found
