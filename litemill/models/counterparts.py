"""The Keras 2 counterpart of each Keras 3 layer, activation and operation.

An option that the Keras 2 layer does not take is dropped only if it has its default value, and refused by name if not.
What is built is verified numerically afterwards.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from litemill.errors import LitemillError
from litemill.models.backend import tf_keras

Counterpart = Callable[..., Any]
"""Takes Keras 2 symbolic tensors the way the Keras 3 layer or operation takes its own."""

AUGMENTATION = re.compile(r"^(Random\w+|AugMix|AutoContrast|CutMix|MixUp|RandAugment)$")
"""Layers that do nothing at inference and have no place in a model for it: left out."""

SAME_ACTIVATIONS = frozenset(
    {"elu", "exponential", "gelu", "linear", "mish", "relu", "selu"}
    | {"sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh"}
)
"""Activations that compute the same under the same name. `hard_sigmoid` does not: Keras 2 has another slope."""

WITHOUT_EFFECT = frozenset({"zero_output_for_mask"})
"""Options Keras 2 sets by itself where they matter."""

RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
"""Options by layer that have another name in Keras 2."""


class Untranslatable(LitemillError):
    """A Keras 3 layer or operation has no counterpart in Keras 2."""


def activation_counterpart(name: str, prefix: str) -> Counterpart | None:
    """An activation as Keras 2 layers named after `prefix`; None where a layer can have it inline.

    `relu6`, `hard_sigmoid` and `hard_silu` follow Howard et al. (2019): relu6(x + 3) / 6, and x times that.

    Raises:
        Untranslatable: There is no counterpart.
    """
    layers = tf_keras().layers
    if name in SAME_ACTIVATIONS:
        return None
    if name == "relu6":
        return layers.ReLU(6.0, name=f"{prefix}_relu6")  # type: ignore[no-any-return]
    if name == "leaky_relu":
        return layers.LeakyReLU(alpha=0.2, name=f"{prefix}_leaky_relu")  # type: ignore[no-any-return]
    if name not in ("hard_sigmoid", "hard_silu", "hard_swish"):
        raise Untranslatable(f"activation {name!r} has no counterpart in Keras 2", where=f"layer {prefix!r}")
    shift = layers.Rescaling(1.0, offset=3.0, name=f"{prefix}_shift")
    clip = layers.ReLU(6.0, name=f"{prefix}_clip")
    scale = layers.Rescaling(1 / 6, name=f"{prefix}_scale")
    if name == "hard_sigmoid":
        return lambda x: scale(clip(shift(x)))
    product = layers.Multiply(name=f"{prefix}_product")
    return lambda x: product([x, scale(clip(shift(x)))])


def layer_twin(layer: Any) -> tuple[Any, Counterpart]:
    """The Keras 2 layer for a Keras 3 layer, and how to call it (with an activation after it where it can't be inline).

    Raises:
        Untranslatable: No such layer, or an option Keras 2 does not know.
    """
    layers, name, kind = tf_keras().layers, str(layer.name), type(layer).__name__
    if AUGMENTATION.match(kind):
        return None, lambda x, *args, **kwargs: x
    cls = getattr(layers, kind, None)
    if cls is None or not type(layer).__module__.startswith("keras."):
        raise Untranslatable(f"layer {name!r} ({kind}) has no counterpart in Keras 2")
    options = {RENAMED.get(kind, {}).get(key, key): value for key, value in _options(layer).items()}
    if kind == "Activation":
        after = activation_counterpart(str(options["activation"]), name)
        if after is not None:
            return None, lambda x, **kwargs: after(x)
    elif isinstance(options.get("activation"), str):
        after = activation_counterpart(options["activation"], name)
        if after is not None:
            options["activation"] = "linear"
    else:
        after = None
    counterpart = cls(**_accepted(options, cls, layer))
    if after is None:
        return counterpart, lambda *args, **kwargs: counterpart(*args, **_call_options(kwargs))
    return counterpart, lambda *args, **kwargs: after(counterpart(*args, **_call_options(kwargs)))


def operation_twin(operation: Any) -> Counterpart:
    """The Keras 2 counterpart of an operation of `keras.ops` between layers.

    Raises:
        Untranslatable: Only arithmetic with a scalar, sums and products of tensors, and activations are known.
    """
    kind, name = type(operation).__name__, str(operation.name)
    layers = tf_keras().layers
    binary = {"Add": layers.Add, "Multiply": layers.Multiply, "Subtract": layers.Subtract}
    scalar: dict[str, Callable[[float, bool], tuple[float, float]]] = {
        "Add": lambda s, first: (1.0, s),
        "Subtract": lambda s, first: (-1.0, s) if first else (1.0, -s),
        "Multiply": lambda s, first: (s, 0.0),
        "Divide": lambda s, first: (1 / s, 0.0),
        "TrueDivide": lambda s, first: (1 / s, 0.0),
    }
    activation = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()

    def call(*args: Any, **kwargs: Any) -> Any:
        numbers = [position for position, arg in enumerate(args) if isinstance(arg, int | float | np.number)]
        if kind in scalar and len(args) == 2 and len(numbers) == 1 and not (numbers == [0] and "Divide" in kind):
            scale, offset = scalar[kind](float(args[numbers[0]]), numbers == [0])
            return layers.Rescaling(scale, offset=offset, name=name)(args[1 - numbers[0]])
        if kind in binary and len(args) == 2 and not numbers:
            return binary[kind](name=name)(list(args))
        if len(args) == 1 and not kwargs and activation in (*SAME_ACTIVATIONS, "relu6", "hard_sigmoid", "hard_silu"):
            after = activation_counterpart(activation, name)
            return after(args[0]) if after else layers.Activation(activation, name=name)(args[0])
        raise Untranslatable(f"operation {name!r} (keras.ops {kind}) has no counterpart in Keras 2")

    return call


def _options(layer: Any) -> dict[str, Any]:
    """A layer's configuration without what the weights replace."""
    config = {key: value for key, value in layer.get_config().items() if not key.endswith("_initializer")}
    policy = config.get("dtype")
    if isinstance(policy, dict):
        config["dtype"] = policy["config"]["name"]
    if type(layer).__name__ == "Normalization":
        config["mean"], config["variance"] = (np.asarray(value).ravel() for value in (layer.mean, layer.variance))
    if "stateful" in config:
        config["stateful"] = False  # the counterpart takes batches of any size, and no sample's state
    for key in ("layer", "backward_layer"):
        if key in config:
            inner = getattr(layer, "forward_layer", None) or layer.layer if key == "layer" else layer.backward_layer
            config[key] = layer_twin(inner)[0]
    return config


def _accepted(options: dict[str, Any], cls: Any, layer: Any) -> dict[str, Any]:
    """Options the Keras 2 class takes; one it does not take is left out if it says nothing."""
    known = {"name", "trainable", "dtype"}
    for base in inspect.getmro(cls):
        known |= set(inspect.signature(vars(base).get("__init__", object.__init__)).parameters)
    defaults = inspect.signature(type(layer).__init__).parameters
    accepted = {}
    for key, value in options.items():
        if key in known:
            accepted[key] = value
        elif (
            value not in (None, False)
            and key not in WITHOUT_EFFECT
            and not (key in defaults and defaults[key].default == value)
        ):
            what = f"layer {layer.name!r} ({type(layer).__name__}) has option {key}={value!r}, unknown to Keras 2"
            raise Untranslatable(what)
    return accepted


def _call_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Call arguments without those that only steer training."""
    return {key: value for key, value in kwargs.items() if key != "training" and value is not None}
