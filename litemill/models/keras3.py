"""Translate a Keras 3 model to Keras 2, which the compression tools need: rebuild its graph, then copy its weights."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from litemill.errors import InputError, first_line
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.counterparts import Counterpart, Untranslatable, layer_twin, operation_twin


def keras3() -> Any:
    """The Keras 3 module, on TensorFlow; it lives side by side with tf_keras."""
    tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return importlib.import_module("keras")


def load_keras3(path: Path, *, allow_unsafe: bool = False, where: str = "") -> Any:
    """Load a Keras 3 `.keras` archive or `.h5` file, not compiled.

    Args:
        path: The file, with that suffix.
        allow_unsafe: Run code from the file.
        where: How to name it in errors.

    Raises:
        InputError: Keras cannot load it.
    """
    try:
        return keras3().saving.load_model(str(path), compile=False, safe_mode=not allow_unsafe)
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"Keras 3 cannot load it: {reason}", where=where or str(path)) from error


def translate(model: Any) -> Any:
    """Rebuild a Keras 3 model from Keras 2 layers and copy its weights layer by layer.

    Args:
        model: A functional or Sequential Keras 3 model, nested as deep as it likes.

    Returns:
        A tf_keras functional model with the layers' names kept.

    Raises:
        Untranslatable: A layer, an option or an operation has no counterpart; named in the message.
    """
    pairs: list[tuple[Any, Any]] = []
    translated = _rebuild(model, pairs)
    for source, counterpart in pairs:
        _copy_weights(source, counterpart)
    return translated


def _rebuild(model: Any, pairs: list[tuple[Any, Any]]) -> Any:
    """The model's graph in Keras 2 layers; `pairs` collects which layer's weights go where."""
    keras = keras3()
    graph = model
    if isinstance(model, keras.Sequential):
        graph = model._functional
    if not isinstance(graph, keras.Model) or not hasattr(graph, "_run_through_graph"):
        raise Untranslatable(f"model {model.name!r} ({type(model).__name__}) is subclassed: its graph is Python code")
    inputs = [_input(tensor, position, graph) for position, tensor in enumerate(graph.inputs)]
    counterparts: dict[int, Counterpart] = {}

    def twin_of(operation: Any) -> Counterpart:
        if id(operation) not in counterparts:
            counterparts[id(operation)] = _twin(operation, pairs)
        return counterparts[id(operation)]

    outputs = graph._run_through_graph(inputs, operation_fn=twin_of)
    return tf_keras().Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=model.name)


def _input(tensor: Any, position: int, graph: Any) -> Any:
    name = graph._input_layers[position].name if hasattr(graph, "_input_layers") else tensor.name
    return tf_keras().Input(tuple(tensor.shape[1:]), name=name, dtype=tensor.dtype)


def _twin(operation: Any, pairs: list[tuple[Any, Any]]) -> Counterpart:
    keras = keras3()
    if isinstance(operation, keras.Model):
        nested = _rebuild(operation, pairs)
        return lambda *args, **kwargs: nested(*args)
    if isinstance(operation, keras.layers.Layer):
        counterpart, call = layer_twin(operation)
        if counterpart is not None and type(operation).__name__ != "Normalization":
            pairs.append((operation, counterpart))
        return call
    return operation_twin(operation)


def _copy_weights(source: Any, counterpart: Any) -> None:
    """Copy a layer's weights, which both versions keep in the same order; shapes are compared."""
    weights = source.get_weights()
    shapes = [tuple(weight.shape) for weight in weights]
    wanted = [tuple(weight.shape) for weight in counterpart.weights]
    if shapes != wanted:
        what = (
            f"layer {source.name!r} ({type(source).__name__}) keeps weights {shapes}, its Keras 2 counterpart {wanted}"
        )
        raise Untranslatable(what)
    if weights:
        counterpart.set_weights(weights)
