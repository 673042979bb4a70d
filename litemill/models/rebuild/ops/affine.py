"""Products and sums with a constant: scaling, BatchNormalization that was not folded, and LayerNormalization."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.models.rebuild.builder import Builder, Merged, Norm
from litemill.models.rebuild.graph import Op, Refused

LAYER_NORM = frozenset({"TRANSPOSE", "MEAN", "SQUARED_DIFFERENCE", "ADD", "RSQRT", "MUL", "SUB", "RESHAPE"})
"""Ops that Keras 2 writes a LayerNormalization as: a fused BatchNorm over `[1, batch · steps, features, 1]`."""


def affine(b: Builder, op: Op, x: Any, scale: Any, offset: Any) -> Any:
    """`scale · x + offset`: Rescaling for numbers and for what is in front of all layers, else a trainable layer.

    Raises:
        Refused: The constants have more axes than a sample.
    """
    scale, offset = (_of_a_sample(np.asarray(value, np.float32), x) for value in (scale, offset))
    if any(value.ndim >= len(x.shape) for value in (scale, offset)):
        raise Refused(f"has a constant of the shape {list(scale.shape)} beside a tensor {list(x.shape)}")
    if _by_channel(x, scale, offset) and not in_front(x):
        return _by_channels(b, op, x, scale, offset)
    plain = [value.item() if value.size == 1 else value.tolist() for value in (scale, offset)]
    return b.layers.Rescaling(plain[0], offset=plain[1], name=op.layer_name)(x)


def _of_a_sample(value: NDArray[np.float32], x: Any) -> NDArray[np.float32]:
    """A constant without the axis of the batch, where it has one."""
    return value.reshape(value.shape[1:]) if value.ndim == len(x.shape) and value.shape[0] == 1 else value


def _by_channel(x: Any, scale: NDArray[np.float32], offset: NDArray[np.float32]) -> bool:
    """Whether there is a factor for each channel of images, and perhaps an offset."""
    channels = x.shape[-1]
    sizes = {scale.size, offset.size} - {1}
    last = all(value.size == 1 or value.shape[-1] == channels for value in (scale, offset))
    return len(x.shape) == 4 and scale.size > 1 and sizes == {channels} and last


def _by_channels(b: Builder, op: Op, x: Any, scale: NDArray[np.float32], offset: NDArray[np.float32]) -> Any:
    """A BatchNormalization where they are put back, else the depthwise 1×1 convolution that it equals."""
    full = np.broadcast_to(offset.ravel(), x.shape[-1:]).astype(np.float32)
    if b.restores:
        norm = b.layers.BatchNormalization(name=op.layer_name)
        b.norms.append(Norm(norm, scale.ravel(), full, None))
        return norm(x)
    layer = b.layers.DepthwiseConv2D(1, use_bias=bool(offset.any()), name=op.layer_name)
    b.weigh(layer, [scale.reshape(1, 1, -1, 1), full if offset.any() else None])
    return layer(x)


def in_front(x: Any) -> bool:
    """Whether nothing but the input, its scaling and its layout is before a tensor."""
    layer = x.node.layer
    kind = type(layer).__name__
    return kind == "InputLayer" or (kind in ("Rescaling", "Permute") and in_front(layer.input))


class _LayerNorm(NamedTuple):
    """The ops of a LayerNormalization as it is found in the file.

    Attributes:
        ops: All of them behind the first RESHAPE.
        made: The tensor that the last RESHAPE makes.
        merged: That before it, whose batch is merged with other axes.
        epsilon: What is added to the variance.
    """

    ops: list[Op]
    made: int
    merged: int
    epsilon: float


def layer_norm(b: Builder, op: Op, x: Any, target: list[int]) -> bool:
    """Put the LayerNormalization that a RESHAPE to `[1, batch · steps, features, 1]` begins; False if none."""
    features = x.shape[-1]
    if len(target) != 4 or target[0] != 1 or target[2:] != [features, 1]:
        return False
    found = _find(b, op)
    if found is None:
        return False
    scale, offset, members, made = _trained_part(b, found, features)
    layer = b.layers.LayerNormalization(epsilon=found.epsilon, name=f"layer_norm_{op.at}")
    b.weigh(layer, [scale, offset])
    b.done |= {one.at for one in members}
    if members[-1].fused == "NONE" or members[-1].name == "RESHAPE":
        b.values[made] = layer(x)
        b.values[found.merged] = Merged(b.values[made])  # the converter may go on from before the last RESHAPE
    else:
        b.put(members[-1], layer(x))
    return True


def _find(b: Builder, op: Op) -> _LayerNorm | None:
    """The ops of a LayerNormalization from its first RESHAPE to its last; None where something else follows."""
    seen, members, epsilon = set(op.outputs), list[Op](), None
    for later in b.graph.ops[op.at + 1 :]:
        if not set(later.inputs) & seen:
            continue
        if later.name not in LAYER_NORM:
            return None
        members.append(later)
        if later.name == "ADD" and epsilon is None:
            small = [b.value(index) for index in later.inputs if b.known(index) and b.value(index).size == 1]
            epsilon = float(small[0].item()) if small else None
        if later.name == "RESHAPE":
            break
        seen |= set(later.outputs)
    names = [one.name for one in members]
    if epsilon is None or "RSQRT" not in names or names[-1] != "RESHAPE":
        return None
    return _LayerNorm(members, members[-1].outputs[0], members[-1].inputs[0], epsilon)


def _trained_part(b: Builder, found: _LayerNorm, features: int) -> tuple[Any, Any, list[Op], int]:
    """Factor and offset that follow, all ops with theirs, and the tensor that they make."""
    scale, offset = np.ones(features), np.zeros(features)
    members, made = list(found.ops), found.made
    for kind in ("MUL", "ADD") if b.graph.uses[found.merged] == 1 else ():
        reader = b.graph.only_reader(made)
        other = b.graph.other_input(reader, made) if reader and reader.name == kind else None
        if reader is None or other is None or not b.known(other) or b.value(other).size != features:
            continue
        scale, offset = (b.value(other).ravel(), offset) if kind == "MUL" else (scale, b.value(other).ravel())
        members.append(reader)
        made = reader.outputs[0]
        if reader.fused != "NONE":
            break
    return scale, offset, members, made
