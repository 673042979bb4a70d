"""Ops that change a tensor's shape or the order of its axes, and that join tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from litemill.flatbuffer.reader import ints
from litemill.models.rebuild.builder import Builder, Merged
from litemill.models.rebuild.folding import BATCH
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.ops.affine import layer_norm
from litemill.models.rebuild.table import rebuilds


@rebuilds("RESHAPE")
def reshape(b: Builder, op: Op) -> None:
    """A Reshape; none where axes are merged with the batch, and one may begin a LayerNormalization."""
    value = b.value(op.inputs[0])
    x = value.tensor if isinstance(value, Merged) else value
    given = b.constant(op, 1)
    target = [int(size) for size in np.ravel(given)] if given is not None else ints(op.options.newShape)
    if layer_norm(b, op, x, target):
        return
    count, rest = int(np.prod(x.shape[1:])), target[1:]
    if -1 in rest:
        if target[0] not in (1, BATCH):
            raise Refused(f"to the shape {_shown(target)}: the batch is not an axis of its own")
        rest[rest.index(-1)] = count // -int(np.prod(rest))
    own_batch = target[:1] in ([1], [-1], [BATCH]) and not any(size % BATCH == 0 for size in rest)
    rows = count // target[-1] if target and target[-1] else 0
    if own_batch and int(np.prod(rest)) == count:
        b.values[op.outputs[0]] = reshaped(b, x, rest, op.layer_name)
    elif len(target) == 2 and target[1] == x.shape[-1] and target[0] in (-1, BATCH * rows, rows):
        b.values[op.outputs[0]] = Merged(x)
    else:
        raise Refused(f"to the shape {_shown(target)}: the batch is not an axis of its own")


def reshaped(b: Builder, x: Any, sizes: list[int], name: str) -> Any:
    """A tensor in another shape; two reshapes in a row are one, and none where it has that shape."""
    layer = x.node.layer
    if type(layer).__name__ == "Reshape":
        x = layer.input
    if list(x.shape)[1:] == sizes:
        return x
    return (b.layers.Flatten(name=name) if len(sizes) == 1 else b.layers.Reshape(sizes, name=name))(x)


def _shown(shape: list[int]) -> str:
    """A shape for a message, the batch by its name."""
    sizes = [f"{size // BATCH} · batch" if size and size % BATCH == 0 else str(size) for size in shape]
    return f"[{', '.join(sizes)}]".replace("1 · batch", "batch")


@rebuilds("EXPAND_DIMS")
def expand_dims(b: Builder, op: Op) -> None:
    """One more axis of size 1."""
    x = b.tensor(op)
    axis = int(np.ravel(b.constant(op, 1))[0]) % (len(x.shape) + 1)
    if axis == 0:
        raise Refused("puts an axis before the batch")
    b.values[op.outputs[0]] = reshaped(b, x, [*x.shape[1:axis], 1, *x.shape[axis:]], op.layer_name)


@rebuilds("SQUEEZE")
def squeeze(b: Builder, op: Op) -> None:
    """Axes of size 1 dropped."""
    x = b.tensor(op)
    axes = {axis % len(x.shape) for axis in ints(op.options.squeezeDims)}
    axes = axes or {axis for axis, size in enumerate(x.shape) if size == 1}
    if 0 in axes:
        raise Refused("drops the batch")
    sizes = [size for axis, size in enumerate(x.shape) if axis and axis not in axes]
    b.values[op.outputs[0]] = reshaped(b, x, sizes, op.layer_name)


@rebuilds("TRANSPOSE")
def transpose(b: Builder, op: Op) -> None:
    """Axes in another order; two permutations in a row are one, and none where they undo each other."""
    order = [int(axis) for axis in np.ravel(b.constant(op, 1))]
    if order[0] != 0:
        raise Refused(f"moves the batch ({order})")
    x = b.tensor(op)
    layer = x.node.layer
    if type(layer).__name__ == "Permute":
        before = [0, *layer.dims]
        x, order = layer.input, [before[axis] for axis in order]
    b.values[op.outputs[0]] = x if order == sorted(order) else b.layers.Permute(order[1:], name=op.layer_name)(x)


@rebuilds("CONCATENATION")
def concatenation(b: Builder, op: Op) -> None:
    """Tensors joined along an axis."""
    parts = [b.tensor(op, position) for position in range(len(op.inputs))]
    if op.options.axis % len(parts[0].shape) == 0:
        raise Refused("joins along the batch")
    b.put(op, b.layers.Concatenate(op.options.axis, name=op.layer_name)(parts))


@rebuilds("PACK")
def pack(b: Builder, op: Op) -> None:
    """Tensors joined along a new axis."""
    parts = [b.tensor(op, position) for position in range(len(op.inputs))]
    if op.options.axis % (len(parts[0].shape) + 1) == 0:
        raise Refused("joins along the batch")
    b.put(op, b.tf.stack(parts, axis=op.options.axis))


@rebuilds("TILE")
def tile(b: Builder, op: Op) -> None:
    """A tensor repeated along its axes."""
    times = [int(one) for one in np.ravel(b.constant(op, 1))]
    if times[0] != 1:
        raise Refused("repeats the batch")
    b.put(op, b.tf.tile(b.tensor(op), times))


@rebuilds("BROADCAST_TO")
def broadcast_to(b: Builder, op: Op) -> None:
    """A tensor repeated along axes of size 1."""
    x, sizes = b.tensor(op), b.graph.shape(op.outputs[0])
    if len(sizes) != len(x.shape):
        raise Refused("adds axes")
    times = [1, *(new // old for new, old in zip(sizes[1:], x.shape[1:], strict=True))]
    b.put(op, b.tf.tile(x, times) if any(one != 1 for one in times) else x)
