"""Bring a source model into the form that a file for one sample is made of: the data's size, a free batch, no state.

A fully convolutional model may leave its height and width free, a model may be built for batches of 50, and a streaming
one keeps its state from one call to the next. A `.tflite` has one size; it is evaluated, trained and compressed in
batches of any size; and no sample may depend on the one before it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from litemill.models.backend import tensorflow, tf_keras
from litemill.models.source import LoadedModel, input_names
from litemill.models.tflite import name_inputs

SIGNATURE = "serving_default"
Shapes = Mapping[str, Sequence[int]]
"""Shape of a sample by input; that of the only one under the empty name."""


def sized(source: LoadedModel, shapes: Shapes) -> LoadedModel:
    """The source with the data's sizes, its batch left free and without state between samples.

    Args:
        source: As it was loaded. What it predicts stays what the file as it is predicts.
        shapes: Shape of one sample of the data.

    Returns:
        The same source where nothing was to be done; else one with a note of each change.
    """
    source = replace(source, export=_sized_export(source, shapes))
    if _unnamed(source, shapes):
        matched = f"it does not name its inputs, so those of the data go in by their order: {', '.join(shapes)}"
        return replace(source, notes=(*source.notes, matched))
    if source.keras is None or not getattr(source.keras, "_is_graph_network", False):
        return source
    model = source.keras
    wanted = [_shape(shapes, name) for name in input_names(model)]
    notes = [*_sizes(model, wanted), *_batches(model), *_states(model)]
    if not notes:
        return source
    return replace(source, keras=_rebuilt(model, wanted), notes=(*source.notes, *notes))


def _unnamed(source: LoadedModel, shapes: Shapes) -> bool:
    return source.facts.format == "tflite" and len(shapes) > 1 and not source.facts.input_names


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    return tuple(shapes[name] if name in shapes else next(iter(shapes.values())))


def _sizes(model: Any, wanted: list[tuple[int, ...]]) -> list[str]:
    return [
        f"input {name!r} has free sizes, which are the data's now: {list(shape)}"
        for name, tensor, shape in zip(input_names(model), model.inputs, wanted, strict=True)
        if None in tuple(tensor.shape[1:])
    ]


def _batches(model: Any) -> list[str]:
    fixed = next((tensor.shape[0] for tensor in model.inputs if tensor.shape[0] is not None), None)
    return [] if fixed is None else [f"it was built for batches of {fixed}, which is free now"]


def _states(model: Any) -> list[str]:
    kept = [layer.name for layer in model.layers if getattr(layer, "stateful", False)]
    return [f"layer {name!r} is stateful: each sample starts without the state of the one before" for name in kept]


def _rebuilt(model: Any, wanted: list[tuple[int, ...]]) -> Any:
    """The same layers and weights on inputs of the wanted shapes."""
    keras = tf_keras()

    def copy(layer: Any) -> Any:
        return type(layer).from_config(_without_state(layer.get_config()))

    inputs = [
        keras.Input(shape, name=name, dtype=tensor.dtype)
        for name, tensor, shape in zip(input_names(model), model.inputs, wanted, strict=True)
    ]
    rebuilt = keras.models.clone_model(model, input_tensors=inputs, clone_function=copy)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _without_state(config: Any) -> Any:
    """A layer's configuration, and those in it, without `stateful`."""
    if isinstance(config, dict):
        return {key: False if key == "stateful" else _without_state(value) for key, value in config.items()}
    return [_without_state(value) for value in config] if isinstance(config, list) else config


def _sized_export(source: LoadedModel, shapes: Shapes) -> Any:
    """As the source exports itself, but a SavedModel whose signature leaves a size free gets the data's."""

    def export(path: Path) -> None:
        source.export(path)
        if path.is_dir():
            _size_signature(path, shapes)
        elif _unnamed(source, shapes):
            name_inputs(path, list(shapes))

    return export


def _size_signature(folder: Path, shapes: Shapes) -> None:
    """Give the signature of a SavedModel the data's sizes, in place; nothing is done where all are fixed."""
    tf = tensorflow()
    model = tf.saved_model.load(str(folder))
    serve = model.signatures.get(SIGNATURE)
    specs = serve.structured_input_signature[1] if serve is not None else {}
    if not any(spec.shape.rank and None in tuple(spec.shape[1:]) for spec in specs.values()):
        return
    asked = {
        name: tf.TensorSpec([spec.shape[0], *_shape(shapes, name)], spec.dtype, name) for name, spec in specs.items()
    }
    holder = tf.Module()
    holder.source = model
    call = tf.function(lambda **tensors: serve(**tensors)).get_concrete_function(**asked)
    beside = folder.with_name(f"{folder.name}.sized")
    tf.saved_model.save(holder, str(beside), signatures={SIGNATURE: call})
    shutil.rmtree(folder)
    beside.rename(folder)
