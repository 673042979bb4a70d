"""Dense layers, products of matrices and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from litemill.models.rebuild.builder import Builder, Merged, on_last
from litemill.models.rebuild.graph import Op, Refused
from litemill.models.rebuild.table import rebuilds


@rebuilds("FULLY_CONNECTED")
def fully_connected(b: Builder, op: Op) -> None:
    """A dense layer on the last axis, or on all of them where its kernel takes them at once."""
    value, kernel, bias = b.value(op.inputs[0]), b.constant(op, 1), b.constant(op, 2)
    merged = isinstance(value, Merged)
    x = value.tensor if merged else b.tensor(op)
    if not merged and len(x.shape) > 2 and not op.options.keepNumDims:
        if int(np.prod(x.shape[1:])) == kernel.shape[1]:
            x = b.layers.Flatten(name=f"{op.layer_name}_flatten")(x)
        else:
            merged = True

    def make(**more: Any) -> Any:
        return b.layers.Dense(kernel.shape[0], **more)

    made = b.weighted(op, make, x, (), (kernel.T, bias))
    b.put(op, Merged(made) if merged else made)


@rebuilds("BATCH_MATMUL")
def batch_matmul(b: Builder, op: Op) -> None:
    """A dense layer where the right matrix is a weight, else a product of two tensors."""
    right, options = b.value(op.inputs[1]), op.options
    if not isinstance(right, np.ndarray):
        pair = b.tensor(op, 0), b.tensor(op, 1)
        b.put(op, b.tf.matmul(*pair, transpose_a=bool(options.adjX), transpose_b=bool(options.adjY)))
        return
    matrix = right.reshape(right.shape[-2:]) if right.size == np.prod(right.shape[-2:]) else right
    if matrix.ndim != 2 or options.adjX:
        raise Refused(f"multiplies with a weight of the shape {list(right.shape)}")
    kernel = matrix.T if options.adjY else matrix

    def make(**more: Any) -> Any:
        return b.layers.Dense(kernel.shape[1], **more)

    b.put(op, on_last(b.value(op.inputs[0]), lambda x: b.weighted(op, make, x, (), (kernel, None))))


@rebuilds("GATHER")
def gather(b: Builder, op: Op) -> None:
    """An embedding where indices pick rows of a weight; else fixed places of a tensor."""
    values, at = b.value(op.inputs[0]), b.value(op.inputs[1])
    if isinstance(values, np.ndarray):
        if op.options.axis or op.options.batchDims or values.ndim != 2:
            raise Refused(f"picks from a weight of the shape {list(values.shape)} along axis {op.options.axis}")
        _embed(b, op, values)
        return
    x = b.tensor(op)
    axis = op.options.axis % len(x.shape)
    if not isinstance(at, np.ndarray) or op.options.batchDims or not axis:
        raise Refused("picks along the batch or by computed indices")
    b.put(op, b.tf.gather(x, at.astype(np.int32), axis=axis))


def _embed(b: Builder, op: Op, values: Any) -> None:
    """An Embedding; one that is used more than once is shared."""
    identity = (op.name, op.inputs[0])
    if identity not in b.shared:
        layer = b.layers.Embedding(values.shape[0], values.shape[1], name=op.layer_name)
        b.weigh(layer, [values])
        b.shared[identity] = layer
    b.put(op, b.shared[identity](b.tensor(op, 1)))
