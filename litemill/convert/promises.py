"""Hold a converted file to what the train-aware steps promised: read from the `.tflite` itself. Needs no TensorFlow.

A conversion can undo compression without an error: quantization-aware training that forgets the zeros, batch
normalisation folded into clustered weights. So the promises are checked where they count, in the file that ships.

Zeros stay zeros under folding and quantization. Shared values stay shared within an output channel only: folding and
a scale for each channel multiply the channels by different factors. So clustering is proved channel by channel, and
the distinct values of the whole tensor are given beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.evidence.graph import LayerProof
from litemill.evidence.sources import StepRecord
from litemill.evidence.training import SPARSITY_TOLERANCE, ClusterFindings, LayerFindings
from litemill.flatbuffer.pattern import pattern_breaks
from litemill.flatbuffer.reader import constant, ints, read_model, text


@dataclass
class Promise:
    """What the steps promised of one layer.

    Attributes:
        layer: Its name in the Keras model.
        shape: Of its kernel in Keras's layout.
        kind: Its type.
        sparsity: Least fraction of zeros; 0 promises nothing.
        clusters: Most distinct values in an output channel; 0 promises nothing.
        m_by_n: The pattern of zeros, if any.
    """

    layer: str
    shape: list[int]
    kind: str
    sparsity: float = 0.0
    clusters: int = 0
    m_by_n: tuple[int, int] | None = None


@dataclass
class Stored:
    """A constant tensor of the file: output channels first where it is a kernel."""

    name: str
    values: NDArray[Any]
    zeros: NDArray[np.bool_]
    taken: bool = field(default=False)


def prove(tflite: Path, steps: Sequence[StepRecord]) -> tuple[list[LayerProof], list[str]]:
    """Read back what the steps promised.

    Args:
        tflite: The converted file.
        steps: The train-aware steps that were done, as they recorded themselves.

    Returns:
        What each promised layer shows, and one sentence for each promise that is broken.

    Raises:
        InputError: The file is missing or damaged.
    """
    promises = collect_promises(steps)
    if not promises:
        return [], []
    stored = list(_stored_kernels(tflite))
    found, broken = [], []
    for promise, tensor in _matched(promises, stored):
        if tensor is None:
            broken.append(f"layer {promise.layer}: no weight of its shape {promise.shape} is in the file")
            continue
        proof = _measure(promise, tensor)
        found.append(proof)
        broken += _broken(promise, proof)
    return found, broken


def collect_promises(steps: Sequence[StepRecord]) -> list[Promise]:
    """The promises of all steps, one for each layer that a step touched."""
    promises: dict[str, Promise] = {}
    for record in steps:
        touched = record.found(LayerFindings).layers if "layers" in record.measured else {}
        for name, layer in touched.items():
            promise = promises.setdefault(name, Promise(name, layer.shape, layer.type))
            if record.step == "prune":
                promise.sparsity = layer.sparsity
                pattern = record.options.get("m_by_n")
                promise.m_by_n = (int(pattern[0]), int(pattern[1])) if pattern else None
            if record.step == "cluster":
                promise.clusters = record.found(ClusterFindings).clusters
    return list(promises.values())


def _stored_kernels(tflite: Path) -> Iterator[Stored]:
    """The constant tensors of two or more dimensions."""
    model = read_model(tflite)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            values = constant(model, tensor)
            shape = ints(tensor.shape)
            if values is None or len(shape) < 2 or values.size != np.prod(shape):
                continue
            points = ints(tensor.quantization.zeroPoint) if tensor.quantization else []
            zero = points[0] if points else 0
            yield Stored(text(tensor.name), values.reshape(shape), (values == zero).reshape(shape))


def _matched(promises: Sequence[Promise], stored: Sequence[Stored]) -> Iterator[tuple[Promise, Stored | None]]:
    """Find the tensor of each promised layer: by shape and name, then by shape and the nearest sparsity."""
    left = []
    for promise in promises:
        named = [tensor for tensor in _of_shape(promise, stored) if promise.layer in _name_parts(tensor.name)]
        if len(named) == 1:
            named[0].taken = True
            yield promise, named[0]
        else:
            left.append(promise)
    for promise in sorted(left, key=lambda promise: -promise.sparsity):
        wanted = promise.sparsity
        fitting = _of_shape(promise, stored)
        nearest = min(fitting, key=lambda tensor: abs(float(tensor.zeros.mean()) - wanted), default=None)
        if nearest is not None:
            nearest.taken = True
        yield promise, nearest


def _of_shape(promise: Promise, stored: Sequence[Stored]) -> list[Stored]:
    """Tensors, not taken yet, that can be a kernel: output channels first, axes of size 1 aside."""
    shape = promise.shape if promise.kind in ("Conv3D", "Conv2DTranspose") else [promise.shape[-1], *promise.shape[:-1]]
    if promise.kind == "Conv2DTranspose":
        shape = [promise.shape[2], *promise.shape[:2], promise.shape[3]]
    wanted = [size for size in shape if size > 1]
    return [
        tensor for tensor in stored if not tensor.taken and [size for size in tensor.values.shape if size > 1] == wanted
    ]


def _name_parts(name: str) -> set[str]:
    """The parts of a tensor's name, without what quantization-aware training puts before a layer's name."""
    return {part.removeprefix("quant_") for joined in name.split(";") for part in joined.split("/")}


def _measure(promise: Promise, tensor: Stored) -> LayerProof:
    channels = tensor.values if promise.kind != "Conv3D" else np.moveaxis(tensor.values, -1, 0)
    return LayerProof(
        layer=promise.layer,
        tensor=tensor.name,
        shape=list(tensor.values.shape),
        dtype=tensor.values.dtype.name,
        sparsity=round(float(tensor.zeros.mean()), 6),
        distinct=len(np.unique(tensor.values)),
        distinct_in_channel=max(len(np.unique(channel)) for channel in channels),
        pattern_breaks=pattern_breaks(~tensor.zeros, promise.m_by_n, axis=-1) if promise.m_by_n else None,
    )


def _broken(promise: Promise, proof: LayerProof) -> Iterator[str]:
    """One sentence for each promise that the file does not keep."""
    if proof.sparsity < promise.sparsity - SPARSITY_TOLERANCE:
        yield f"layer {promise.layer}: sparsity {proof.sparsity:.3f} in the file, {promise.sparsity:.3f} after pruning"
    if promise.m_by_n and proof.pattern_breaks:
        zeros, group = promise.m_by_n
        yield f"layer {promise.layer}: {proof.pattern_breaks} groups in the file break the pattern {zeros}:{group}"
    if promise.clusters and proof.distinct_in_channel > promise.clusters:
        yield (
            f"layer {promise.layer}: {proof.distinct_in_channel} distinct weights in a channel of the file, "
            f"{promise.clusters} after clustering"
        )
