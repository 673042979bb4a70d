"""Dilated convolutions that a converter left in pieces: SPACE_TO_BATCH_ND, the convolution, BATCH_TO_SPACE_ND."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from litemill.models.rebuild.builder import Builder
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.ops.convolutions import PADDING, Geometry, convolved
from litemill.models.rebuild.table import rebuilds

PIECES = ("EXPAND_DIMS", "CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE", "BATCH_TO_SPACE_ND")
Sizes = list[list[int]]
"""Begin and end by axis, height first."""


class Pieces(NamedTuple):
    """The ops of one dilated convolution.

    Attributes:
        convolution: The one that computes.
        last: The BATCH_TO_SPACE_ND.
        all: All of them but the first.
    """

    convolution: Op
    last: Op
    all: list[Op]


@rebuilds("SPACE_TO_BATCH_ND")
def dilated(b: Builder, op: Op) -> None:
    """All the pieces as one convolution with a dilation; of one axis between two reshapes."""
    x, pieces = b.tensor(op), _pieces(b, op)
    convolution, last = pieces.convolution, pieces.last
    bias, after = _bias_behind(b, pieces)
    size, flat = b.constant(convolution, 1).shape[1:3], len(b.constant(op, 1)) == 1
    axis = 1 if flat and size[0] == 1 else 0
    dilation, padding = _geometry(b, op, last, axis if flat else None)
    if flat:
        x = b.layers.Reshape(
            (1, *x.shape[1:]) if axis else (x.shape[1], 1, x.shape[2]), name=f"{op.layer_name}_expand"
        )(x)
    same = [[d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2] for d, k in zip(dilation, size, strict=True)]
    if padding != same and any(map(any, padding)):
        x = b.layers.ZeroPadding2D(padding, name=f"{op.layer_name}_pad")(x)
    geometry = Geometry((1, 1), "same" if padding == same else "valid", (dilation[0], dilation[1]))
    x = convolved(b, convolution, x, geometry, bias)
    if flat:
        x = b.layers.Reshape(b.graph.shape(last.outputs[0])[1:], name=f"{op.layer_name}_squeeze")(x)
    b.put(after, x)
    b.check(after)
    b.done |= {one.at for one in pieces.all} | {after.at}


@rebuilds("BATCH_TO_SPACE_ND")
def alone(b: Builder, op: Op) -> None:
    """The last piece of a dilated convolution, where it is none.

    Raises:
        Refused: Always.
    """
    raise Refused("is not part of a dilated convolution")


def _pieces(b: Builder, op: Op) -> Pieces:
    """The ops from a SPACE_TO_BATCH_ND to its BATCH_TO_SPACE_ND.

    Raises:
        Refused: They are not those of a dilated convolution.
    """
    chain: list[Op] = []
    index = op.outputs[0]
    while not chain or chain[-1].name != "BATCH_TO_SPACE_ND":
        reader = b.graph.only_reader(index)
        if reader is None or reader.name not in PIECES:
            raise Refused("is not part of a dilated convolution")
        chain.append(reader)
        index = reader.outputs[0]
    inner = [one for one in chain if "CONV" in one.name]
    valid = len(inner) == 1 and PADDING[inner[0].options.padding] == "valid"
    if not valid or (inner[0].options.strideH, inner[0].options.strideW) != (1, 1) or inner[0].fused != "NONE":
        raise Refused("is part of a dilated convolution of a form that is not known")
    return Pieces(inner[0], chain[-1], chain)


def _bias_behind(b: Builder, pieces: Pieces) -> tuple[Any, Op]:
    """The bias of the convolution, which may be added behind the last piece, and the op that ends it all."""
    bias, made = b.constant(pieces.convolution, 2), pieces.last.outputs[0]
    reader = b.graph.only_reader(made)
    if (bias is not None and bias.any()) or reader is None or reader.name != "ADD":
        return bias, pieces.last
    other = b.graph.other_input(reader, made)
    channels = b.graph.shape(pieces.convolution.outputs[0])[-1]
    if other is None or not b.known(other) or b.value(other).size != channels:
        return bias, pieces.last
    return b.value(other).ravel(), reader


def _geometry(b: Builder, op: Op, last: Op, axis: int | None) -> tuple[list[int], Sizes]:
    """Dilation and padding by axis; of a convolution over one axis the other has none.

    Raises:
        Refused: It crops what it has not padded.
    """
    block, pads, crops = np.ravel(b.constant(op, 1)), b.constant(op, 2), b.constant(last, 2)
    dilation, padding = [1, 1], [[0, 0], [0, 0]]
    for at, (size, pad, crop) in enumerate(zip(block, pads, crops, strict=True)):
        place = at if axis is None else axis
        dilation[place] = int(size)
        padding[place] = [int(pad[0] - crop[0]), int(pad[1] - crop[1])]
    if crops[:, 0].any() or min(min(padding)) < 0:
        raise Refused(f"has paddings {pads.tolist()} and crops {crops.tolist()}, not those of a dilated convolution")
    return dilation, padding
