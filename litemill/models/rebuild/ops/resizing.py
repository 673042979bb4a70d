"""Padding and resizing of images, and what moves pixels between space and channels."""

from __future__ import annotations

import numpy as np

from litemill.models.rebuild.builder import Builder
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.table import rebuilds

RESIZES = {"RESIZE_BILINEAR": "bilinear", "RESIZE_NEAREST_NEIGHBOR": "nearest"}
MIRRORS = ("REFLECT", "SYMMETRIC")
"""By the number of the schema's mode."""


@rebuilds(*RESIZES)
def resize(b: Builder, op: Op) -> None:
    """UpSampling2D by whole factors, else Resizing, else TensorFlow's older functions, by how pixels are placed."""
    kind, x = RESIZES[op.name], b.tensor(op)
    size = [int(one) for one in np.ravel(b.constant(op, 1))]
    factors = [new / old for new, old in zip(size, x.shape[1:3], strict=True)]
    whole = all(factor == int(factor) for factor in factors)
    half, corners = bool(op.options.halfPixelCenters), bool(op.options.alignCorners)
    if whole and not corners and (half or kind == "nearest"):
        layer = b.layers.UpSampling2D([int(factor) for factor in factors], interpolation=kind, name=op.layer_name)
        b.put(op, layer(x))
    elif half and not corners:
        b.put(op, b.layers.Resizing(*size, interpolation=kind, name=op.layer_name)(x))
    else:
        older = b.tf.compat.v1.image
        call = older.resize_bilinear if kind == "bilinear" else older.resize_nearest_neighbor
        b.put(op, call(x, size, align_corners=corners, half_pixel_centers=half))


@rebuilds("PAD", "PADV2")
def pad(b: Builder, op: Op) -> None:
    """ZeroPadding where zeros are put around images or series, else TensorFlow's function."""
    x, pads = b.tensor(op), b.constant(op, 1).reshape(-1, 2).tolist()
    value = float(np.ravel(b.constant(op, 2))[0]) if op.name == "PADV2" else 0.0
    if any(pads[0]):
        raise Refused("pads the batch")
    if not value and len(pads) == 4 and not any(pads[3]):
        b.put(op, b.layers.ZeroPadding2D(pads[1:3], name=op.layer_name)(x))
    elif not value and len(pads) == 3 and not any(pads[2]):
        b.put(op, b.layers.ZeroPadding1D(pads[1], name=op.layer_name)(x))
    else:
        b.put(op, b.tf.pad(x, pads, constant_values=value))


@rebuilds("MIRROR_PAD")
def mirror_pad(b: Builder, op: Op) -> None:
    """Padding with mirrored pixels."""
    pads = b.constant(op, 1).tolist()
    if any(pads[0]):
        raise Refused("pads the batch")
    b.put(op, b.tf.pad(b.tensor(op), pads, mode=MIRRORS[op.options.mode]))


@rebuilds("SPACE_TO_DEPTH")
def space_to_depth(b: Builder, op: Op) -> None:
    """Blocks of pixels to channels."""
    b.put(op, b.tf.nn.space_to_depth(b.tensor(op), op.options.blockSize))


@rebuilds("DEPTH_TO_SPACE")
def depth_to_space(b: Builder, op: Op) -> None:
    """Channels to blocks of pixels."""
    b.put(op, b.tf.nn.depth_to_space(b.tensor(op), op.options.blockSize))
