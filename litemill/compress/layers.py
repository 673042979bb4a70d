"""Which layers a step touches, which it leaves alone, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.config.base import nearest
from litemill.config.steps import LayerOptions, named_by
from litemill.errors import StepFailed
from litemill.evidence.training import KernelFindings
from litemill.models.backend import tf_keras

KERNELS: Mapping[str, str] = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv3D": "kernel",
    "Conv2DTranspose": "kernel",
    "Dense": "kernel",
    "SeparableConv2D": "pointwise_kernel",
}
"""Layers that can be pruned and clustered, and the weight it is done to. TFMOT leaves depthwise kernels alone: they are
few and losing them costs much accuracy."""

FEWEST_ZEROS = 0.05
"""A kernel with fewer zeros than this was not pruned."""

FIRST, LAST = "first layer, sensitive", "last layer, sensitive"


@dataclass
class Choice:
    """The layers of a model that a step touches, and the reason for each weighted layer that it does not."""

    touched: list[str] = field(default_factory=list)
    left_alone: dict[str, str] = field(default_factory=dict)


def weighted_layers(model: Any) -> Iterator[Any]:
    """The layers of a model, nested ones too, that have a weight of two or more dimensions, in order of use."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from weighted_layers(layer)
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            yield layer


def layers_before(layer: Any) -> list[Any]:
    """The layers whose outputs a layer takes."""
    return [before.layer for node in layer.inbound_nodes for before in node.parent_nodes]


def takes_numbers_as_they_are(model: Any) -> bool:
    """Whether a model's inputs mean something else when they are scaled or rounded: token ids, integers of any kind."""
    if any(tensor.dtype.is_integer or tensor.dtype.is_bool for tensor in model.inputs):
        return True
    looked_up = [layer for layer in model._flatten_layers() if type(layer).__name__ == "Embedding"]
    return any(
        before.name in model.input_names or type(before).__name__ == "InputLayer"
        for layer in looked_up
        for before in layers_before(layer)
    )


def kernel(layer: Any) -> NDArray[np.float32]:
    """The weight of a layer that steps work on, in Keras's layout (output channels last)."""
    values: NDArray[np.float32] = np.asarray(getattr(layer, KERNELS[type(layer).__name__]))
    return values


def choose_layers(model: Any, options: LayerOptions, unfit: Mapping[str, str] | None = None) -> Choice:
    """Choose the layers that a step touches.

    By default the first layer with weights, the last one if it is dense, and kernels below `min_weights` are left
    alone: they hold few weights and much of the accuracy. `include` overrules that, never `unfit`.

    Args:
        model: A tf_keras model.
        options: Patterns of names or types to include and to exclude.
        unfit: Reason by name of layers that the step cannot work on.

    Raises:
        StepFailed: A pattern fits no layer, or no layer is left.
    """
    layers = list(weighted_layers(model))
    check_patterns([*options.include, *options.exclude], layers)
    choice = Choice()
    for layer in layers:
        reason = _why_not(layer, layers, options, unfit or {})
        if reason:
            choice.left_alone[layer.name] = reason
        else:
            choice.touched.append(layer.name)
    if not choice.touched:
        message = ", ".join(f"{name} ({reason})" for name, reason in choice.left_alone.items())
        raise StepFailed(f"no layer is left to work on: {message or 'the model has no weights'}", where=model.name)
    return choice


def _why_not(layer: Any, layers: Sequence[Any], options: LayerOptions, unfit: Mapping[str, str]) -> str:
    """The reason to leave a layer alone, or nothing."""
    if type(layer).__name__ not in KERNELS:
        return f"{type(layer).__name__} is not supported"
    if layer.name in unfit:
        return unfit[layer.name]
    if fits(layer, options.exclude):
        return "excluded"
    if options.include:
        return "" if fits(layer, options.include) else "not included"
    if layer is layers[0]:
        return FIRST
    if layer is layers[-1] and type(layer).__name__ == "Dense":
        return LAST
    if kernel(layer).size < options.min_weights:
        return f"only {kernel(layer).size} weights"
    return ""


def fits(layer: Any, patterns: Sequence[str]) -> bool:
    """Whether a layer's name or type fits one of the patterns."""
    return named_by(patterns, layer.name, type(layer).__name__)


def check_patterns(patterns: Sequence[str], layers: Sequence[Any]) -> None:
    """Refuse a pattern that fits nothing: most likely a misspelt name.

    Raises:
        StepFailed: With the nearest name or type there is.
    """
    for pattern in patterns:
        if not any(fits(layer, [pattern]) for layer in layers):
            known = sorted({name for layer in layers for name in (layer.name, type(layer).__name__)})
            raise StepFailed(f"no layer is named {pattern!r} or of that type; {nearest(pattern, known)}")


def copy_model(model: Any) -> Any:
    """A copy with the same weights: TFMOT's wrappers change the layers of the model they are given."""
    copy = tf_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def wrap_layers(model: Any, names: Sequence[str], wrap: Any) -> Any:
    """A model on the same layers, the named ones replaced by what `wrap` makes of them, in nested models too.

    A whole model given to TFMOT fails on any layer that it does not know, such as Rescaling.
    """
    models = tf_keras().models

    def replaced(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return models.clone_model(layer, clone_function=replaced)
        return wrap(layer) if layer.name in names else layer

    return models.clone_model(model, clone_function=replaced)


def sparsity(values: NDArray[np.float32]) -> float:
    """Fraction of zeros."""
    return 1.0 - int(np.count_nonzero(values)) / values.size


def distinct_by_channel(values: NDArray[np.float32]) -> int:
    """Largest number of distinct values in one output channel (the last axis)."""
    return max(len(np.unique(channel)) for channel in np.moveaxis(values, -1, 0))


def measure_layers(model: Any, names: Sequence[str]) -> dict[str, KernelFindings]:
    """Shape, sparsity and distinct values of the named layers' kernels, as they stand in the Keras model."""
    found = {}
    for layer in weighted_layers(model):
        if layer.name in names:
            values = kernel(layer)
            found[layer.name] = KernelFindings(
                type=type(layer).__name__,
                shape=list(values.shape),
                sparsity=round(sparsity(values), 6),
                distinct=len(np.unique(values)),
                distinct_in_channel=distinct_by_channel(values),
            )
    return found
