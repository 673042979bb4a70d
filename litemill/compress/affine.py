"""BatchNormalization as the depthwise convolution that it equals at inference, which TFMOT can quantize."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from litemill.models.backend import tf_keras


def depthwise_counterparts(model: Any, names: Iterable[str]) -> dict[str, Any]:
    """A 1×1 DepthwiseConv2D with bias, of the same name, for each named BatchNormalization over images.

    With the moving statistics fixed, γ(x − μ)/√(σ² + ε) + β is one factor and one offset a channel.

    Args:
        model: A tf_keras model.
        names: Of its layers; those of another type, or not over the last axis of `[batch, height, width, channels]`,
            get none.
    """
    layers = tf_keras().layers
    counterparts = {}
    for name in names:
        layer = model.get_layer(name)
        if type(layer).__name__ != "BatchNormalization" or len(layer.input_shape) != 4 or list(layer.axis) != [3]:
            continue
        counterparts[name] = layers.DepthwiseConv2D(1, name=name)
    return counterparts


def with_counterparts(model: Any, counterparts: Mapping[str, Any]) -> Any:
    """A copy of the model with counterparts in the place of BatchNormalization layers, computing the same."""

    def replaced(layer: Any) -> Any:
        return counterparts.get(layer.name) or type(layer).from_config(layer.get_config())

    copy = tf_keras().models.clone_model(model, clone_function=replaced)
    for layer in model.layers:
        copy.get_layer(layer.name).set_weights(_affine(layer) if layer.name in counterparts else layer.get_weights())
    return copy


def _affine(layer: Any) -> list[Any]:
    """Kernel `[1, 1, channels, 1]` and bias `[channels]` of a BatchNormalization."""
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    factor = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        factor = factor * np.asarray(layer.gamma)
    offset = -mean * factor
    if layer.center:
        offset = offset + np.asarray(layer.beta)
    return [factor.reshape(1, 1, -1, 1), offset]
