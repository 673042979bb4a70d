"""Convolutions, with the BatchNormalization that a converter folded into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.models.rebuild.builder import Builder, Norm
from litemill.models.rebuild.graph import FileGraph, Op, Refused
from litemill.models.rebuild.table import rebuilds

PADDING = {0: "same", 1: "valid"}
"""Keras's word for each of the schema's."""
PASSING = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "CONCATENATION", "SOFTMAX", "LOGISTIC", "EXPAND_DIMS", "SLICE"})
"""Ops behind which the output of a head is still the head's."""


class Geometry(NamedTuple):
    """How a kernel moves over its input."""

    strides: tuple[int, int]
    padding: str
    dilation: tuple[int, int] = (1, 1)


@rebuilds("CONV_2D", "DEPTHWISE_CONV_2D")
def convolution(b: Builder, op: Op) -> None:
    """A convolution, grouped where its kernel has fewer channels than its input; or a depthwise one."""
    options = op.options
    dilation = (options.dilationHFactor or 1, options.dilationWFactor or 1)
    geometry = Geometry((options.strideH, options.strideW), PADDING[options.padding], dilation)
    b.put(op, convolved(b, op, b.tensor(op), geometry, b.constant(op, 2)))


def convolved(b: Builder, op: Op, x: Any, geometry: Geometry, bias: Any) -> Any:
    """What a convolution op makes of `x`.

    Args:
        b: The builder.
        op: Its kernel is input 1.
        x: `[batch, height, width, channels]`, padded already where the geometry says `valid`.
        geometry: Of the kernel.
        bias: `[channels]`, or None.

    Raises:
        Refused: Keras has no such convolution.
    """
    kernel = b.constant(op, 1)
    strides, padding, dilation = geometry
    if max(strides) > 1 and max(dilation) > 1:
        raise Refused(f"has strides {strides} with dilation {dilation}, which Keras does not take")
    common = {"strides": strides, "padding": padding, "dilation_rate": dilation}
    channels, size = int(x.shape[-1]), kernel.shape[1:3]
    if op.name == "DEPTHWISE_CONV_2D":
        if strides[0] != strides[1]:
            raise Refused(f"is depthwise and has two strides {strides}, which Keras does not take")
        weights = kernel.reshape(*size, channels, -1)
        common |= {"kernel_size": size, "depth_multiplier": weights.shape[-1]}
        kind = b.layers.DepthwiseConv2D
    else:
        weights = kernel.transpose(1, 2, 3, 0)
        common |= {"filters": kernel.shape[0], "kernel_size": size, "groups": channels // kernel.shape[3]}
        kind = b.layers.Conv2D
    if b.restores and _lost_its_norm(b.graph, op, bias):
        return _with_norm(b, op, lambda **more: kind(**common, **more), x, (weights, bias))
    return b.weighted(op, lambda **more: kind(**common, **more), x, geometry, (weights, bias))


def _with_norm(b: Builder, op: Op, make: Callable[..., Any], x: Any, weights: tuple[Any, Any]) -> Any:
    """A convolution and a BatchNormalization that takes the place of its bias."""
    kernel, bias = weights
    layer = make(name=op.layer_name, use_bias=False)
    b.weigh(layer, [kernel])
    norm = b.layers.BatchNormalization(name=f"{op.layer_name}_bn")
    offset = np.ravel(bias).astype(np.float32)
    b.norms.append(Norm(norm, np.ones_like(offset), offset, layer))
    return norm(layer(x))


def _lost_its_norm(graph: FileGraph, op: Op, bias: NDArray[Any] | None) -> bool:
    """Whether a BatchNormalization may have been folded into a convolution.

    None was where the bias is zero throughout, where the convolution computes one value a channel (an attention over
    channels, which has no batch statistics to speak of), where weights are shared, and where it is a head of the model.
    """
    height, width = graph.shape(op.outputs[0])[1:3]
    if bias is None or not bias.any() or height * width == 1 or graph.uses[op.inputs[1]] > 1:
        return False
    return op.fused != "NONE" or not _is_head(graph, op.outputs[0])


def _is_head(graph: FileGraph, index: int) -> bool:
    """Whether a tensor reaches an output of the model with nothing but reordering and a last activation behind it."""
    seen, waiting = {index}, [index]
    while waiting:
        tensor = waiting.pop()
        if tensor in graph.outputs:
            return True
        behind = [reader.outputs[0] for reader in graph.readers.get(tensor, []) if reader.name in PASSING]
        waiting += [one for one in behind if one not in seen]
        seen.update(behind)
    return False


@rebuilds("TRANSPOSE_CONV")
def transposed(b: Builder, op: Op) -> None:
    """A transposed convolution; output sizes that its padding does not imply are refused by their shape."""
    kernel, x, options = b.constant(op, 1), b.tensor(op, 2), op.options
    geometry = Geometry((options.strideH, options.strideW), PADDING[options.padding])
    bias = b.constant(op, 3)

    def make(**more: Any) -> Any:
        size = {"strides": geometry.strides, "padding": geometry.padding}
        return b.layers.Conv2DTranspose(kernel.shape[0], kernel.shape[1:3], **size, **more)

    b.put(op, b.weighted(op, make, x, geometry, (kernel.transpose(1, 2, 0, 3), bias)))
