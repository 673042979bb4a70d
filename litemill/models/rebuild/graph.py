"""The main graph of a `.tflite` as rebuilding asks for it: its ops, constants, and who makes and who reads a tensor."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.errors import StepFailed
from litemill.flatbuffer.reader import ACTIVATION_NAMES, DTYPE_NAMES, constant, ints, op_name, text

LONGEST_NAME = 60
"""Characters of a tensor's name in a message: fused layers have the names of all of them."""


class Refused(StepFailed):
    """An op that cannot be rebuilt; the message names it and its place."""


class Op(NamedTuple):
    """An op of the file.

    Attributes:
        at: Its position in the graph.
        name: Its type, or a custom op's own name.
        inputs: Indices of tensors; −1 for one that is left out.
        outputs: Likewise.
        options: The schema's object of its type.
    """

    at: int
    name: str
    inputs: list[int]
    outputs: list[int]
    options: Any

    @property
    def layer_name(self) -> str:
        """What the layer made of it is called."""
        return f"{self.name.lower()}_{self.at}"

    @property
    def fused(self) -> str:
        """The activation that is part of the op; NONE where there is none."""
        return ACTIVATION_NAMES.get(getattr(self.options, "fusedActivationFunction", 0), "one that is not known")


class FileGraph:
    """The main graph of an opened `.tflite`.

    Args:
        model: As `litemill.flatbuffer.reader.read_model` opens it.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.graph = model, model.subgraphs[0]
        self.inputs, self.outputs = ints(self.graph.inputs), ints(self.graph.outputs)
        self.ops = [
            Op(at, op_name(model, op), ints(op.inputs), ints(op.outputs), op.builtinOptions)
            for at, op in enumerate(self.graph.operators or [])
        ]
        self.uses = Counter([*(index for op in self.ops for index in op.inputs), *self.outputs])
        self.maker = {index: op for op in self.ops for index in op.outputs}
        self.readers: dict[int, list[Op]] = {}
        for op in self.ops:
            for index in dict.fromkeys(op.inputs):
                self.readers.setdefault(index, []).append(op)

    def shape(self, index: int) -> list[int]:
        """Shape of a tensor, its batch of 1 included."""
        return ints(self.graph.tensors[index].shape)

    def dtype(self, index: int) -> str:
        """Type of a tensor's elements."""
        return DTYPE_NAMES.get(self.graph.tensors[index].type, "of a type that is not known")

    def name(self, index: int) -> str:
        """Name of a tensor, shortened; empty in a slimmed file."""
        found = text(self.graph.tensors[index].name)
        return found if len(found) <= LONGEST_NAME else f"{found[: LONGEST_NAME - 1]}…"

    def place(self, op: Op) -> str:
        """An op for a message: its number, type and the tensor it makes."""
        name = self.name(op.outputs[0]) if op.outputs else ""
        return f"op {op.at} {op.name} ({name})" if name else f"op {op.at} {op.name}"

    def is_constant(self, index: int) -> bool:
        """Whether a tensor is stored in the file, or left out."""
        return index < 0 or (index not in self.maker and index not in self.inputs)

    def constant(self, index: int) -> NDArray[Any]:
        """A stored tensor in its shape; integers as int64, so that arithmetic with a stand-in for the batch fits.

        Raises:
            Refused: It has no value, or is quantized.
        """
        tensor = self.graph.tensors[index]
        found = constant(self.model, tensor)
        if found is None or found.size != int(np.prod(self.shape(index))):
            raise Refused(f"tensor {index} ({self.name(index)!r}) has no value")
        if found.dtype.kind in "iu" and tensor.quantization is not None and tensor.quantization.scale is not None:
            raise Refused(f"tensor {index} ({self.name(index)!r}) is quantized")
        found = found.reshape(self.shape(index))
        return found.astype(np.int64) if found.dtype.kind in "iu" else found

    def only_reader(self, index: int) -> Op | None:
        """The op that reads a tensor where nothing else does."""
        readers = self.readers.get(index, [])
        return readers[0] if self.uses[index] == len(readers) == 1 else None

    def other_input(self, op: Op, index: int) -> int | None:
        """The other input of an op with two."""
        other = [one for one in op.inputs if one != index]
        return other[0] if len(op.inputs) == 2 and len(other) == 1 else None
