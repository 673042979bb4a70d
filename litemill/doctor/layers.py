"""Which train-aware step takes which layer, and which recipes of a config cannot work: the steps themselves say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litemill.compress.layers import choose_layers
from litemill.compress.qat import layers_in_front, quantize
from litemill.compress.support import PREPROCESSING
from litemill.config.run import RunSpec
from litemill.config.steps import ClusterOptions, LayerOptions, PruneOptions, QatOptions, Step, tflite_obstacle
from litemill.doctor.findings import Finding, LayerDiagnosis
from litemill.errors import StepFailed
from litemill.models.source import LoadedModel


def examine_layers(model: Any) -> list[LayerDiagnosis]:
    """Every layer, nested ones too, with the steps' default options."""
    prune, cluster = (_left_alone(model, options) for options in (PruneOptions(), ClusterOptions()))
    try:
        qat: Mapping[str, str] | str = quantize(model, QatOptions(unsupported="float")).floats
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


def examine_preprocessing_layers(model: Any) -> list[Finding]:
    """Tell what becomes of layers that preprocess inside the model."""
    found = []
    in_front = layers_in_front(model)
    for layer in _all_layers(model):
        if type(layer).__name__ not in PREPROCESSING:
            continue
        what = (
            f"layer {layer.name} ({type(layer).__name__}) preprocesses inside the model: it stays and becomes an "
            "operation of the .tflite file"
        )
        if layer.name in in_front:
            what += "; quantization-aware training leaves it float, in front of the layers it quantizes"
            fix = "To spare the device the operation, take it out and give its values in data.preprocessing"
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
        message = tflite_obstacle(steps) if source.facts.format == "tflite" else ""
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
