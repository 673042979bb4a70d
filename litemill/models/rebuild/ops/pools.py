"""Pools and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from litemill.models.rebuild.builder import Builder
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.ops.convolutions import PADDING
from litemill.models.rebuild.table import rebuilds

POOLS = {"AVERAGE_POOL_2D": "AveragePooling2D", "MAX_POOL_2D": "MaxPooling2D"}
REDUCTIONS = {
    "MEAN": "reduce_mean",
    "SUM": "reduce_sum",
    "REDUCE_MAX": "reduce_max",
    "REDUCE_MIN": "reduce_min",
    "REDUCE_PROD": "reduce_prod",
}
GLOBAL = {"MEAN": "Average", "REDUCE_MAX": "Max"}
"""Reductions that Keras has a global pool for."""
SPATIAL = {
    (3, (1,)): ("1D", "channels_last"),
    (4, (1, 2)): ("2D", "channels_last"),
    (3, (2,)): ("1D", "channels_first"),
    (4, (2, 3)): ("2D", "channels_first"),
    (5, (1, 2, 3)): ("3D", "channels_last"),
}
"""By rank and axes: the global pool's dimensions and where it expects the channels."""


@rebuilds(*POOLS)
def pool(b: Builder, op: Op) -> None:
    """A pool over windows."""
    options = op.options
    window, strides = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    layer = getattr(b.layers, POOLS[op.name])(window, strides, PADDING[options.padding], name=op.layer_name)
    b.put(op, layer(b.tensor(op)))


def _before_permute(x: Any, axes: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """What a reduction can take in place of a permuted tensor, and along which axes: the axes left keep their order."""
    layer = x.node.layer
    if type(layer).__name__ != "Permute":
        return x, axes
    before = [0, *layer.dims]
    left = [before[axis] for axis in range(len(before)) if axis not in axes]
    if left != sorted(left):
        return x, axes
    return layer.input, tuple(sorted(before[axis] for axis in axes))


@rebuilds(*REDUCTIONS)
def reduction(b: Builder, op: Op) -> None:
    """A global pool where the reduced axes are those of images or series, else TensorFlow's function."""
    x, keep = b.tensor(op), bool(op.options.keepDims)
    axes = tuple(sorted({int(axis) % len(x.shape) for axis in np.ravel(b.constant(op, 1))}))
    if 0 in axes:
        raise Refused("reduces over the batch")
    x, axes = (x, axes) if keep else _before_permute(x, axes)
    where = SPATIAL.get((len(x.shape), axes))
    if op.name in GLOBAL and where:
        layer = getattr(b.layers, f"Global{GLOBAL[op.name]}Pooling{where[0]}")
        b.put(op, layer(data_format=where[1], keepdims=keep, name=op.layer_name)(x))
    else:
        b.put(op, getattr(b.tf, REDUCTIONS[op.name])(x, axis=list(axes), keepdims=keep))
