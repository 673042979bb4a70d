"""Convolutions of volumes, whose kernels the file has in Keras's layout."""

from __future__ import annotations

from typing import Any

from litemill.models.rebuild.builder import Builder
from litemill.models.rebuild.graph import Op
from litemill.models.rebuild.ops.convolutions import PADDING
from litemill.models.rebuild.table import rebuilds


@rebuilds("CONV_3D")
def volume(b: Builder, op: Op) -> None:
    """A Conv3D."""
    options, kernel = op.options, b.constant(op, 1)
    dilation = (options.dilationDFactor or 1, options.dilationHFactor or 1, options.dilationWFactor or 1)
    settings = {**_settings(options), "dilation_rate": dilation}

    def make(**more: Any) -> Any:
        return b.layers.Conv3D(kernel.shape[4], kernel.shape[:3], **settings, **more)

    b.put(op, b.weighted(op, make, b.tensor(op), str(settings), (kernel, b.constant(op, 2))))


@rebuilds("CONV_3D_TRANSPOSE")
def transposed_volume(b: Builder, op: Op) -> None:
    """A Conv3DTranspose; output sizes that its padding does not imply are refused by their shape."""
    kernel, settings = b.constant(op, 1), _settings(op.options)

    def make(**more: Any) -> Any:
        return b.layers.Conv3DTranspose(kernel.shape[3], kernel.shape[:3], **settings, **more)

    b.put(op, b.weighted(op, make, b.tensor(op, 2), str(settings), (kernel, b.constant(op, 3))))


def _settings(options: Any) -> dict[str, Any]:
    strides = (options.strideD, options.strideH, options.strideW)
    return {"strides": strides, "padding": PADDING[options.padding]}
