"""Quantization-aware training on TFMOT, keeping what pruning and clustering reached."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from litemill.compress.affine import depthwise_counterparts, with_counterparts
from litemill.compress.layers import check_patterns, copy_model, fits, layers_before, takes_numbers_as_they_are
from litemill.compress.preserve import clusters_of, make_scheme
from litemill.compress.ranges import calibrate_ranges
from litemill.compress.support import IN_LAYERS, OPERATORS, PREPROCESSING
from litemill.compress.work import Done, Work
from litemill.config.steps import QatOptions
from litemill.errors import LAYER, StepFailed, first_line
from litemill.evidence.training import ClusterFindings, QatFindings
from litemill.models.backend import tf_keras

METHODS = {(False, False): "QAT", (True, False): "PQAT", (False, True): "CQAT", (True, True): "PCQAT"}
"""What quantization-aware training is called after (pruning, clustering)."""

_REFUSED = re.compile(r"Layer (?P<name>[^\s:]+):<class '(?:\w+\.)*(?P<kind>\w+)'> is not supported")
"""How TFMOT names a layer that it cannot quantize."""


IN_FRONT = "preprocesses the input in front of the quantized layers"
AS_LAMBDAS = "SeparableConv1D is not supported: TFMOT makes Lambda layers of it"
AS_DEPTHWISE = "(BatchNormalization) is quantized as the depthwise 1×1 convolution that it equals"


def qat(work: Work, options: QatOptions) -> Done:
    """Train with quantization emulated (Jacob et al., 2018, https://arxiv.org/abs/1712.05877).

    Which variant is decided by the steps so far: after `prune` the zeros are kept (PQAT), after `cluster` the shared
    values (CQAT), after both both (PCQAT). The ranges are in the SavedModel, so `int8` needs no calibration for it.

    Args:
        work: The model and its training.
        options: Layers to leave in float.

    Returns:
        The wrapped model, the method and the layers left in float.

    Raises:
        StepFailed: A layer cannot be quantized (by name, before any training).
    """
    earlier = work.did("cluster")
    clustered = earlier.found(ClusterFindings) if earlier else None
    quantized, floats, rewritten = quantize(work.model, options, clustered)
    calibrate_ranges(quantized, work.batches)
    training = work.fine_tune(quantized)
    method = METHODS[work.did("prune") is not None, clustered is not None]
    findings = QatFindings(method=method, float_layers=floats, rewritten=rewritten, training=training)
    warnings = [f"layer {name} is trained in float: {reason}" for name, reason in floats.items()]
    warnings += [f"layer {name} {what}" for name, what in rewritten.items()]
    return Done(_strip(quantized) if clustered else quantized, findings, warnings)


class Quantized(NamedTuple):
    """A model wrapped for quantization-aware training.

    Attributes:
        model: The wrapped model.
        floats: The reason by name for each layer left in float.
        rewritten: What became of layers that are quantized in another form, by name.
    """

    model: Any
    floats: dict[str, str]
    rewritten: dict[str, str]


def quantize(model: Any, options: QatOptions, clustered: ClusterFindings | None = None) -> Quantized:
    """Wrap a copy of a model for quantization-aware training.

    Layers that preprocess in front of all others stay float, and a BatchNormalization that TFMOT cannot fold into a
    convolution is quantized as the depthwise convolution that it equals.

    Args:
        model: A float tf_keras model.
        options: Which layers stay float.
        clustered: What an earlier `cluster` found, or nothing.

    Raises:
        StepFailed: A layer cannot be quantized and may not stay float.
    """
    _check_form(model)
    check_patterns(options.exclude, model.layers)
    excluded = {layer.name: "excluded" for layer in model.layers if fits(layer, options.exclude)}
    front = dict.fromkeys(layers_in_front(model), IN_FRONT)
    refused = {layer.name: AS_LAMBDAS for layer in model.layers if type(layer).__name__ == "SeparableConv1D"}
    refused = {name: reason for name, reason in refused.items() if name not in excluded}
    counterparts: dict[str, str] = {}
    wrapped = None
    _reserve_names(model)
    while wrapped is None:
        try:
            wrapped = _wrap(copy_model(model), {**excluded, **front, **refused}, clustered)
        except Exception as error:  # TFMOT raises whatever its code runs into on a layer it does not know
            name, reason = _culprit(error, model, {**excluded, **front, **refused})
            if name not in counterparts and (made := depthwise_counterparts(model, [name])):
                model = with_counterparts(model, made)
                counterparts[name] = AS_DEPTHWISE
            else:
                refused[name] = reason
    if refused and options.unsupported == "fail":
        message = ", ".join(f"{name} ({reason})" for name, reason in refused.items())
        raise StepFailed(
            f"quantization-aware training cannot take layer {message}",
            fix="Take it out of the model, or keep it float with `qat: {unsupported: float}`",
        )
    return Quantized(wrapped, excluded | front | refused, counterparts)


def _culprit(error: Exception, model: Any, floats: Collection[str]) -> tuple[str, str]:
    """The layer that TFMOT stumbled over, and the reason to leave it in float.

    Raises:
        StepFailed: It names none, or one that is left in float already.
    """
    found = _REFUSED.search(str(error))
    if found and found["name"] not in floats:
        return found["name"], f"{found['kind']} is not supported{_hint(found['kind'])}"
    named = LAYER.search(str(error))
    name = named["name"].removeprefix("quant_") if named else ""
    if name in {layer.name for layer in model.layers} - set(floats):
        return name, f"TFMOT fails on it: {first_line(error)}"
    what = f"TFMOT cannot quantize this model: {first_line(error)}"
    fix = f"Leave `qat` out of the recipe, or take layer {name} out of the model" if name else "Leave `qat` out of it"
    raise StepFailed(what, where=model.name, fix=fix) from error


def layers_in_front(model: Any) -> list[str]:
    """Names of the layers that only preprocess the input: all that is before them is an input or one of their kind."""
    front: list[str] = []
    for layer in model.layers:
        kind = type(layer).__name__
        before = [layer.name for layer in layers_before(layer)]
        if kind in PREPROCESSING and all(name in front or name in model.input_names for name in before):
            front.append(layer.name)
    return front


def _hint(kind: str) -> str:
    return " unless right after a linear convolution or dense layer" if kind == "BatchNormalization" else ""


def _check_form(model: Any) -> None:
    """Refuse what TFMOT refuses as a whole, by name."""
    keras = tf_keras()
    operators = [
        f"{layer.name} ({type(layer).__name__})" for layer in model.layers if type(layer).__name__ in OPERATORS
    ]
    if operators:
        message = ", ".join(operators)
        raise StepFailed(f"quantization-aware training cannot take arithmetic between layers: {message}", fix=IN_LAYERS)
    if not isinstance(model, keras.Sequential) and not model._is_graph_network:
        raise StepFailed("quantization-aware training cannot take a subclassed model", where=model.name)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            raise StepFailed(
                f"quantization-aware training cannot take a nested model: {layer.name}",
                fix="Flatten it into layers, or build it with the functional API, so that importing can",
            )


def _wrap(model: Any, floats: Collection[str], clustered: ClusterFindings | None) -> Any:
    """Annotate every layer but those that stay float, and let TFMOT wrap them."""
    from tensorflow_model_optimization.quantization import keras as quantization

    def annotated(layer: Any) -> Any:
        return layer if layer.name in floats else quantization.quantize_annotate_layer(layer)

    marked = tf_keras().models.clone_model(model, clone_function=annotated)
    scheme = make_scheme(clustered, quantize_inputs=not takes_numbers_as_they_are(model))
    with quantization.quantize_scope(), clusters_of(clustered):
        return quantization.quantize_apply(marked, scheme)


def _reserve_names(model: Any) -> None:
    """Keep Keras from naming the layers that TFMOT splits a SeparableConv2D into like layers that are there already."""
    from tf_keras.src.backend import unique_object_name

    taken = {layer.name for layer in model.layers}
    if not any(type(layer).__name__ == "SeparableConv2D" for layer in model.layers):
        return  # else models whose names are safe would get other ones, and another digest
    for base in ("conv2d", "depthwise_conv2d"):
        numbers = [int(found[1] or 0) for name in taken if (found := re.fullmatch(rf"{base}(?:_(\d+))?", name))]
        for _ in range(max(numbers, default=-1) + 1):
            unique_object_name(base, zero_based=True)


def _strip(model: Any) -> Any:
    """Drop the variables that kept the clusters during training."""
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import cluster_utils

    return cluster_utils.strip_clustering_cqat(model)
