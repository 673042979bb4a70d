"""Write a `.tflite` so that whatever is equal is stored once.

A flatbuffer refers to vectors, strings and tables by offset, so equal ones may be one and the same. The converter
writes each anew: thousands of all-zero zero points, repeated scales, shapes, options and whole tensor descriptions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types
from numpy.typing import NDArray

from litemill.flatbuffer.reader import IDENTIFIER

BUFFER_ALIGNMENT = 16
"""What the schema asks for the data of buffers (`force_align`), so that kernels can load whole vectors."""

Key = tuple[Any, ...] | Any


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A flatbuffer builder that writes each distinct vector and string once, and fields of a table without gaps."""

    def __init__(self) -> None:
        super().__init__(1 << 16)
        self.tables: dict[int, int] = {}
        self._written: dict[Key, int] = {}
        self._slots: list[tuple[int, int, Callable[[], None]]] = []

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (the generated code calls it by this name)
        """Write a vector, or refer to the equal one; bytes are aligned as the data of buffers must be."""
        key = (x.itemsize, x.tobytes())
        if key not in self._written:
            if x.itemsize == 1:
                self.Prep(BUFFER_ALIGNMENT, x.nbytes)
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802
        """Write a string, or refer to the equal one."""
        key = s.encode(encoding, errors) if isinstance(s, str) else bytes(s)
        if key not in self._written:
            self._written[key] = super().CreateString(key)
        return self._written[key]

    def StartObject(self, numfields: int) -> None:  # noqa: N802
        """Begin a table whose fields are collected first."""
        super().StartObject(numfields)
        self._slots = []

    def PrependSlot(self, flags: Any, o: int, x: Any, d: Any) -> None:  # noqa: N802
        """Collect a number; one that is the schema's default is not stored."""
        self._slots.append((flags.bytewidth, o, lambda: super(SharingBuilder, self).PrependSlot(flags, o, x, d)))

    def PrependUOffsetTRelativeSlot(self, o: int, x: int, d: int) -> None:  # noqa: N802
        """Collect a reference."""
        width = number_types.UOffsetTFlags.bytewidth
        self._slots.append((width, o, lambda: super(SharingBuilder, self).PrependUOffsetTRelativeSlot(o, x, d)))

    def EndObject(self) -> int:  # noqa: N802
        """Write the collected fields, widest first, which needs the least padding."""
        for _, _, write in sorted(self._slots, key=lambda slot: (-slot[0], slot[1])):
            write()
        self._slots = []
        offset: int = super().EndObject()
        return offset


def pack_shared(model: Any) -> bytes:
    """Write a model with every equal vector, string and table stored once.

    Args:
        model: A `schema.ModelT`; equal objects in it are merged.
    """
    share(model, {})
    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def fingerprint(value: Any) -> Key:
    """Equal for values of the schema with equal content: objects, vectors, numbers, strings."""
    return share(value, {})[1]


def share(value: Any, seen: dict[Key, Any]) -> tuple[Any, Key]:
    """Replace equal objects below `value` by the first of them, which writes itself once.

    Returns:
        The object to use in place of `value`, and what identifies its content.
    """
    if isinstance(value, np.ndarray):
        return value, (value.dtype.kind, value.itemsize, value.size, hashlib.sha256(value.tobytes()).digest())
    if isinstance(value, list):
        pairs = [share(item, seen) for item in value]
        value[:] = [item for item, _ in pairs]
        return value, tuple(key for _, key in pairs)
    if not hasattr(value, "Pack"):
        return value, value
    keys: list[Key] = [type(value).__name__]
    for name, field in list(vars(value).items()):
        if name == "Pack":
            continue
        item, key = share(field, seen)
        setattr(value, name, item)
        keys.append((name, key))
    key = tuple(keys)
    if key not in seen:
        seen[key] = value
        value.Pack = partial(_pack_once, value)
    return seen[key], key


def _pack_once(value: Any, builder: SharingBuilder) -> int:
    """Write an object where it is referred to first; later references are to that place."""
    if id(value) not in builder.tables:
        builder.tables[id(value)] = type(value).Pack(value, builder)
    return builder.tables[id(value)]
