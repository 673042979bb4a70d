"""Which train-aware step takes which layer, and which recipes of a config cannot work: the steps themselves say."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from litemill.compress.layers import choose_layers
from litemill.compress.qat import layers_in_front, quantize
from litemill.compress.support import PREPROCESSING
from litemill.config.run import RunSpec
from litemill.config.steps import ClusterOptions, LayerOptions, PruneOptions, QatOptions, Step, tflite_obstacle
from litemill.doctor.findings import Finding, LayerDiagnosis
from litemill.errors import StepFailed, first_line
from litemill.models.source import LoadedModel

log = logging.getLogger(__name__)
NOT_ASKED = "no recipe asks for it"


def examine_layers(model: Any, steps: Collection[str]) -> list[LayerDiagnosis]:
    """Every layer, nested ones too, with the steps' default options.

    Args:
        model: A tf_keras model.
        steps: Names of the steps to try; the others are not asked for.
    """
    prune = _left_alone(model, PruneOptions()) if "prune" in steps else NOT_ASKED
    cluster = _left_alone(model, ClusterOptions()) if "cluster" in steps else NOT_ASKED
    qat: Mapping[str, str] | str = NOT_ASKED
    if "qat" in steps:
        try:
            qat = quantize(model, QatOptions(unsupported="float")).floats
        except StepFailed as error:
            qat = str(error)
    rows = []
    for layer in _all_layers(model):
        weighted = any(len(weight.shape) > 1 for weight in layer.weights)
        rows.append(
            LayerDiagnosis(
                name=layer.name,
                type=type(layer).__name__,
                parameters=layer.count_params(),
                prune=_reason(prune, layer.name) if weighted else "no weights to prune",
                cluster=_reason(cluster, layer.name) if weighted else "no weights to cluster",
                qat=_reason(qat, layer.name),
            )
        )
    return rows


def examine_preprocessing_layers(model: Any, *, qat: bool) -> list[Finding]:
    """Tell what becomes of layers that preprocess inside the model.

    Args:
        model: A tf_keras model.
        qat: Whether a recipe trains for quantization.
    """
    found = []
    in_front = layers_in_front(model)
    for layer in _all_layers(model):
        if type(layer).__name__ not in PREPROCESSING:
            continue
        what = (
            f"layer {layer.name} ({type(layer).__name__}) preprocesses inside the model: it stays and becomes an "
            "operation of the .tflite file"
        )
        fix = "To spare the device the operation, take it out and give its values in data.preprocessing"
        if not qat:
            found.append(Finding(level="ok", what=what, fix=fix))
        elif layer.name in in_front:
            what += "; quantization-aware training leaves it float, in front of the layers it quantizes"
            found.append(Finding(level="ok", what=what, fix=fix))
        else:
            what += ", and quantization-aware training cannot take it, for it is not in front of all others"
            fix = "Take it out, or keep it float: `qat: {unsupported: float}`"
            found.append(Finding(level="warning", what=what, fix=fix))
    return found


def examine_rewrites(model: Any) -> list[Finding]:
    """Tell which layers `qat` quantizes in another form."""
    try:
        rewritten = quantize(model, QatOptions(unsupported="float")).rewritten
    except StepFailed:
        return []
    return [Finding(level="ok", what=f"qat: layer {name} {what}") for name, what in rewritten.items()]


def examine_recipes(source: LoadedModel, spec: RunSpec) -> dict[str, str]:
    """Why each recipe will fail; empty where nothing speaks against it."""
    known: dict[str, str] = {}
    recipes = {}
    for name, steps in spec.recipes.items():
        message = tflite_obstacle(steps, source.facts.only_graph) if source.facts.format == "tflite" else ""
        for step in steps:
            if step.is_scheme or message:
                continue
            key = step.model_dump_json()
            if key not in known:
                known[key] = _why_not(source.keras, "; ".join(source.notes), step)
            message = known[key]
        recipes[name] = message
    return recipes


def _why_not(model: Any | None, reason: str, step: Step) -> str:
    if model is None:
        return f"{step.name} needs a Keras 2 model: {reason}"
    options = step.parsed()
    try:
        if isinstance(options, QatOptions):
            quantize(model, options)
        elif isinstance(options, PruneOptions | ClusterOptions):
            choose_layers(model, options)
    except StepFailed as error:
        return f"{step.name}: {error}"
    except Exception as error:  # of a library that was asked something it does not expect: advice goes on
        log.warning("%s could not be tried", step.name, exc_info=True)
        return f"{step.name} could not be tried: {first_line(error)}"
    return ""


def _left_alone(model: Any, options: LayerOptions) -> Mapping[str, str] | str:
    try:
        return choose_layers(model, options).left_alone
    except StepFailed as error:
        return str(error)


def _reason(found: Mapping[str, str] | str, name: str) -> str:
    return found if isinstance(found, str) else found.get(name, "")


def _all_layers(model: Any) -> list[Any]:
    layers = []
    for layer in model.layers:
        layers += _all_layers(layer) if hasattr(layer, "layers") else [layer]
    return [layer for layer in layers if type(layer).__name__ != "InputLayer"]
