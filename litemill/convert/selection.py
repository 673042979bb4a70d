"""Which ops of a float `.tflite` a user means by the names of layers, and which of them stay float.

A layer's name is a part of the names that the converter gives to tensors: `model/conv2d_1/Relu;model/conv2d_1/Conv2D`
is what layer `conv2d_1` of type `Conv2D` puts out. An op of the file is also known by its own type, `CONV_2D`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from litemill.config.base import nearest
from litemill.errors import StepFailed
from litemill.flatbuffer.reader import constant, ints, op_name, parse_model, text

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
SEPARATORS = re.compile(r"[/;:]")
WRAPPERS = re.compile(r"^(Stateful)?PartitionedCall(_\d+)?$|^ReadVariableOp.*|^\d*$|^import$")
"""Parts of a tensor's name that no layer has."""


class Op(NamedTuple):
    """An op: the names of its outputs, by which it is chosen, and all that a user may call it."""

    outputs: tuple[str, ...]
    names: frozenset[str]


def ops_of(data: bytes) -> list[Op]:
    """The ops of the main graph of a `.tflite`."""
    model = parse_model(data, where="the model")
    graph = model.subgraphs[0]
    found = []
    for op in graph.operators or []:
        kind = op_name(model, op)
        if kind in CONVERSIONS:
            continue
        outputs = tuple(text(graph.tensors[index].name) for index in ints(op.outputs))
        # The last op is called after the signature: its layer's name is only in its weights' names.
        weights = [
            text(graph.tensors[index].name)
            for index in ints(op.inputs)
            if index >= 0 and _is_constant(model, graph, index)
        ]
        parts = {part for name in (*outputs, *weights) for part in SEPARATORS.split(name)}
        found.append(Op(outputs, frozenset({kind, *outputs, *(part for part in parts if not WRAPPERS.match(part))})))
    return found


def _is_constant(model: Any, graph: Any, index: int) -> bool:
    return constant(model, graph.tensors[index]) is not None


def left_float(data: bytes, include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Names of the output tensors of the ops that are not to be quantized.

    Args:
        data: The float `.tflite`, with the names of its tensors.
        include: Layer names or op types, with `*` and `?`, of all that is to be quantized; everything if empty.
        exclude: The same of what is not.

    Raises:
        StepFailed: A pattern fits no op, or nothing is left to quantize.
    """
    ops = ops_of(data)
    for option, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            _refuse_unknown(option, pattern, ops)
    chosen = [op for op in ops if not include or _fits(op, include)]
    chosen = [op for op in chosen if not _fits(op, exclude)]
    if not chosen:
        raise StepFailed("include and exclude leave no layer to quantize")
    kept = {name for op in chosen for name in op.outputs}
    return [name for op in ops for name in op.outputs if name not in kept]


def _fits(op: Op, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in op.names for pattern in patterns)


def _refuse_unknown(option: str, pattern: str, ops: list[Op]) -> None:
    if any(_fits(op, [pattern]) for op in ops):
        return
    known = sorted({name for op in ops for name in op.names - set(op.outputs)})
    raise StepFailed(f"{option}: no layer or op is called {pattern!r}; {nearest(pattern, known)}")
