"""Load the source model a user brings, as a Keras 2 model where that is possible, else as a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.keras3 import load_keras3, translate
from litemill.models.peek import ModelFacts, peek
from litemill.models.saved_model import signature_of
from litemill.models.twins import Untranslatable

Array = NDArray[np.float32]
BATCH = 32


@dataclass(frozen=True)
class LoadedModel:
    """A source model.

    Attributes:
        facts: What the file says.
        keras: The tf_keras model; None where there is none, and only post-training recipes can work.
        predict: The source's own outputs, by the framework that saved it; `[samples, …]` in and out.
        export: Writes the source as a SavedModel folder.
        notes: What was rewritten, or why there is no Keras 2 model.
    """

    facts: ModelFacts
    keras: Any | None
    predict: Callable[[Array], Array]
    export: Callable[[Path], None]
    notes: tuple[str, ...] = ()


def load_source(path: Path, *, allow_unsafe: bool = False) -> LoadedModel:
    """Load a trained model, not compiled, without running code from the file unless that is allowed.

    Raises:
        InputError: See `peek`; or a layer is unknown, or the weights don't fit.
    """
    facts = peek(path, allow_unsafe=allow_unsafe)
    if facts.format == "keras3":
        return _from_keras3(facts, allow_unsafe)
    if facts.format == "saved_model":
        return _from_saved_model(facts)
    model = _load_keras2(path, allow_unsafe)
    return _with_keras(facts, model)


def _load_keras2(path: Path, allow_unsafe: bool) -> Any:
    try:
        model = tf_keras().models.load_model(str(path), compile=False, safe_mode=not allow_unsafe)
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise InputError(f"Keras cannot load it: {_first_line(error)}", where=str(path)) from error
    if not model.built or not getattr(model, "inputs", None):
        fix = "Call the model on a sample before saving it, or build it with the functional API"
        raise InputError("has no input shape", where=str(path), fix=fix)
    return model


def _with_keras(facts: ModelFacts, model: Any, notes: tuple[str, ...] = ()) -> LoadedModel:
    def export(folder: Path) -> None:
        model.export(str(folder))

    return LoadedModel(facts, model, _predictor(model), export, notes)


def _from_keras3(facts: ModelFacts, allow_unsafe: bool) -> LoadedModel:
    source = load_keras3(facts.path, allow_unsafe=allow_unsafe)
    model, notes = None, ("translated from Keras 3 layer by layer",)
    try:
        model = translate(source)
    except Untranslatable as error:
        notes = (str(error),)

    def export(folder: Path) -> None:
        source.export(str(folder), format="tf_saved_model", verbose=False)

    return LoadedModel(facts, model, _predictor(source), export, notes)


def _from_saved_model(facts: ModelFacts) -> LoadedModel:
    """A SavedModel: the Keras model in it if it can be rebuilt from its configuration, else its signature."""
    if facts.class_name in ("Functional", "Sequential"):
        try:
            model = tf_keras().models.load_model(str(facts.path), compile=False)
            tf_keras().models.model_from_json(model.to_json())
            return _with_keras(facts, model)
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OSError) as error:
            reason = f"its Keras model cannot be rebuilt: {_first_line(error)}"
    else:
        what = f"subclass {facts.class_name}" if facts.class_name else "SavedModel without Keras metadata"
        reason = f"a {what} has no layers that could be rebuilt"
    tf = tensorflow()
    name, _ = signature_of(facts.path)
    try:
        loaded = tf.saved_model.load(str(facts.path))
        serve = loaded.signatures[name]
    except (ValueError, KeyError, OSError, AttributeError, tf.errors.OpError) as error:
        raise InputError(f"TensorFlow cannot load it: {_first_line(error)}", where=str(facts.path)) from error
    (key, spec), *others = serve.structured_input_signature[1].items()
    if others:
        raise InputError(f"has {1 + len(others)} inputs; models with one are supported", where=str(facts.path))
    batch = spec.shape[0] if spec.shape.rank else None

    def predict(x: Array) -> Array:
        size = batch or BATCH
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]) if batch else part
            (output,) = serve(**{key: tf.constant(padded, spec.dtype)}).values()
            parts.append(np.asarray(output)[: len(part)])
        return np.concatenate(parts)

    def export(folder: Path) -> None:
        module = tf.Module()
        module.source = loaded
        signature = [tf.TensorSpec(spec.shape, spec.dtype, key)]
        call = tf.function(lambda tensor: serve(**{key: tensor}), input_signature=signature)
        tf.saved_model.save(module, str(folder), signatures=call)

    return LoadedModel(facts, None, predict, export, (reason,))


def _predictor(model: Any) -> Callable[[Array], Array]:
    def predict(x: Array) -> Array:
        return np.asarray(model.predict(x, batch_size=BATCH, verbose=0))

    return predict


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
