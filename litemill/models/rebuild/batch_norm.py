"""Put back the BatchNormalization that a converter folded into convolutions, without which training breaks a model.

At inference it is the identity beside the convolution's bias: γ = √(σ² + ε), β = bias + μ, with μ and σ² of what the
convolution makes of real samples. Each kernel gets the size of a fresh one (He et al., 2015), which γ undoes: folding
left it any size, and the steps of Adam, which are absolute, would be too large for a small one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.models.backend import tensorflow, tf_keras
from litemill.models.rebuild.builder import Norm

Moments = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Mean and variance `[channels]` of what each BatchNormalization takes."""


def be_the_identity(norms: Sequence[Norm]) -> None:
    """Let every BatchNormalization compute what the file does, with statistics that say nothing yet."""
    for norm in norms:
        one = np.ones_like(norm.offset)
        norm.layer.set_weights([norm.scale * np.sqrt(one + norm.layer.epsilon), norm.offset, 0 * one, one])


def restore(model: Any, norms: Sequence[Norm], batches: Iterable[Any]) -> None:
    """Give every BatchNormalization the statistics of real samples and every kernel the size of a fresh one, in place.

    Args:
        model: With the BatchNormalization layers in it.
        norms: Of the model.
        batches: Samples as the model takes them; at least one batch.
    """
    if not norms:
        return
    be_the_identity(norms)
    for norm, (mean, variance) in zip(norms, _moments(model, norms, batches), strict=True):
        size = _rescale(norm.before) if norm.before is not None else np.ones_like(mean)
        mean, variance = mean * size, variance * size**2
        spread = norm.scale * np.sqrt(variance + norm.layer.epsilon) / size
        norm.layer.set_weights([spread, norm.offset + norm.scale * mean / size, mean, variance])


def _moments(model: Any, norms: Sequence[Norm], batches: Iterable[Any]) -> Moments:
    """Averages over all batches of the mean and the mean square of what each BatchNormalization takes."""
    tf = tensorflow()
    before = [norm.layer.input for norm in norms]
    probe = tf_keras().Model(model.inputs, before)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def measured(samples: Any) -> Any:
        found = tf.nest.flatten(probe(samples, training=False))
        axes = [list(range(len(part.shape) - 1)) for part in found]
        return [
            (tf.reduce_mean(part, axis), tf.reduce_mean(tf.square(part), axis))
            for part, axis in zip(found, axes, strict=True)
        ]

    sums: Any = None
    count = 0
    for samples in batches:
        found = [[np.asarray(value, np.float64) for value in pair] for pair in measured(samples)]
        sums = (
            found
            if sums is None
            else [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(sums, found, strict=True)]
        )
        count += 1
    return [(mean / count, np.maximum(square / count - (mean / count) ** 2, 0.0)) for mean, square in sums]


def _rescale(layer: Any) -> NDArray[np.float64]:
    """Bring each output channel's kernel to the size of a fresh one; what it was multiplied with `[channels]`."""
    (kernel,) = layer.get_weights()
    depthwise = type(layer).__name__ == "DepthwiseConv2D"
    flat = kernel.reshape(kernel.shape[0] * kernel.shape[1], -1) if depthwise else kernel.reshape(-1, kernel.shape[-1])
    now = np.sqrt((flat.astype(np.float64) ** 2).mean(0))
    size = np.where(now > 0, np.sqrt(2 / len(flat)) / np.where(now > 0, now, 1.0), 1.0)
    layer.set_weights([(kernel * (size.reshape(kernel.shape[2:]) if depthwise else size)).astype(np.float32)])
    return size
