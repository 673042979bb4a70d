"""Ops that cut tensors into pieces."""

from __future__ import annotations

import numpy as np

from litemill.models.rebuild.builder import Builder
from litemill.models.rebuild.folding import BATCH, cuts
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.table import rebuilds


@rebuilds("STRIDED_SLICE")
def strided_slice(b: Builder, op: Op) -> None:
    """A Cropping2D where images lose their edges, else an index."""
    x = b.tensor(op)
    key = cuts(op.options, len(x.shape), *(np.ravel(b.constant(op, position)) for position in (1, 2, 3)))
    first = key[0]
    if not isinstance(first, slice) or first.start not in (None, 0) or first.stop not in (None, 1, BATCH):
        raise Refused("cuts the batch")
    ranges = [
        range(*one.indices(size)) if isinstance(one, slice) else None
        for one, size in zip(key[1:], x.shape[1:], strict=True)
    ]
    edges = [
        (one.start, size - one.stop) if one is not None and one.step == 1 else None
        for one, size in zip(ranges, x.shape[1:], strict=True)
    ]
    if len(x.shape) == 4 and None not in edges and edges[2] == (0, 0):
        b.put(op, b.layers.Cropping2D(edges[:2], name=op.layer_name)(x))
    else:
        b.put(op, x[(slice(None), *key[1:])])


@rebuilds("SLICE")
def slice_(b: Builder, op: Op) -> None:
    """A piece by its begin and size."""
    x, begin, size = b.tensor(op), np.ravel(b.constant(op, 1)), np.ravel(b.constant(op, 2))
    if begin[0] != 0 or size[0] not in (1, -1, BATCH):
        raise Refused("cuts the batch")
    b.put(op, b.tf.slice(x, [0, *map(int, begin[1:])], [-1, *map(int, size[1:])]))


@rebuilds("SPLIT", "SPLIT_V")
def split(b: Builder, op: Op) -> None:
    """Pieces along an axis, equal or of given sizes."""
    even = op.name == "SPLIT"
    x = b.tensor(op, 1 if even else 0)
    axis = int(np.ravel(b.constant(op, 0 if even else 2))[0]) % len(x.shape)
    if axis == 0:
        raise Refused("cuts the batch")
    sizes = len(op.outputs) if even else [int(size) for size in np.ravel(b.constant(op, 1))]
    for position, part in enumerate(b.tf.split(x, sizes, axis=axis)):
        b.put(op, part, position)


@rebuilds("UNPACK")
def unpack(b: Builder, op: Op) -> None:
    """Pieces of size 1 along an axis, without that axis."""
    x = b.tensor(op)
    axis = op.options.axis % len(x.shape)
    if axis == 0:
        raise Refused("cuts the batch")
    for position, part in enumerate(b.tf.unstack(x, axis=axis)):
        b.put(op, part, position)
