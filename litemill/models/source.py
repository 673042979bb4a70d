"""Load the source model a user brings, as a Keras 2 model where that is possible, else as a graph."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.errors import InputError, LitemillError, first_line
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.counterparts import Untranslatable
from litemill.models.ending import ending_of_graph, ending_of_keras, ending_of_tflite
from litemill.models.facts import FROM_QUANTIZED, ModelFacts
from litemill.models.fit import Judged, judged_positions
from litemill.models.flatten import flatten
from litemill.models.keras3 import load_keras3, translate
from litemill.models.locate import named_as
from litemill.models.peek import peek
from litemill.models.precision import in_float32
from litemill.models.saved_model import signature_of
from litemill.models.tflite import ends_of, outputs_of
from litemill.models.unpacked import FloatFile
from litemill.tasks import OutputIs
from litemill.tasks.joined import side_by_side

Array = NDArray[np.float32]
BATCH = 32
SUFFIX = {"h5": ".h5", "keras2": ".keras", "h5_keras3": ".h5", "keras3": ".keras", "saved_model": ""}
"""How Keras wants a file to be called: it chooses the loader by the name, and it must be the one that was checked."""


@dataclass(frozen=True)
class LoadedModel:
    """A source model.

    Attributes:
        facts: What the file says.
        keras: The tf_keras model; None where there is none, and only post-training recipes can work.
        predict: The source's own judged output, by the framework that saved it; `[samples, …]` in (of several inputs a
            structured array, see `litemill.artifacts.inputs`) and out.
        export: Writes the source as a SavedModel folder, or as the `.tflite` that it is.
        notes: What was rewritten, or why there is no Keras 2 model.
        judged: Positions of the output that is judged, or of those that are judged side by side.
        output_is: What that output is, as far as its last layer tells.
    """

    facts: ModelFacts
    keras: Any | None
    predict: Callable[[Array], Array]
    export: Callable[[Path], None]
    notes: tuple[str, ...] = ()
    judged: Judged = (0,)
    output_is: OutputIs = ""


def load_source(
    path: Path, *, allow_unsafe: bool = False, from_quantized: bool = False, output: str = ""
) -> LoadedModel:
    """Load a trained model, not compiled, without running code from the file unless that is allowed.

    Args:
        path: The model.
        allow_unsafe: Run code from the file: Lambda layers.
        from_quantized: Take a `.tflite` that is quantized, as the float32 model of its rounded weights.
        output: Name of the output that is judged, of a model with several.

    Raises:
        InputError: See `peek`; or a layer is unknown, the weights don't fit, or no such output. So do `predict` and
            `export` where the model cannot be run.
    """
    facts = peek(path, allow_unsafe=allow_unsafe, from_quantized=from_quantized)
    loaded = _load(facts, allow_unsafe, output)
    predict = partial(_of_the_file, path, "be run on these samples", loaded.predict)
    export = partial(_of_the_file, path, "be exported", loaded.export)
    return replace(loaded, predict=predict, export=export)


def _of_the_file(path: Path, doing: str, function: Callable[[Any], Any], argument: Any) -> Any:
    """Call a function of the model; whatever error of the framework that ends in is the file's fault."""
    try:
        return function(argument)
    except (LitemillError, MemoryError, tensorflow().errors.ResourceExhaustedError):
        raise
    except Exception as error:
        raise InputError(f"cannot {doing}: {first_line(error)}", where=str(path)) from error


def _load(facts: ModelFacts, allow_unsafe: bool, output: str) -> LoadedModel:
    if facts.is_keras3:
        return _from_keras3(facts, allow_unsafe, output)
    if facts.format == "tflite":
        return _from_tflite(facts, output)
    if facts.format == "saved_model":
        return _from_saved_model(facts, allow_unsafe, output)
    model = _load_keras2(facts, allow_unsafe)
    return _with_keras(facts, model, output)


def _load_keras2(facts: ModelFacts, allow_unsafe: bool) -> Any:
    """Load a Keras 2 file or SavedModel in safe mode, which Keras itself heeds for `.keras` files only."""
    scope = importlib.import_module(f"{tf_keras().__name__}.src.saving.serialization_lib").SafeModeScope
    path = facts.path
    try:
        with scope(not allow_unsafe), named_as(path, SUFFIX[facts.format]) as named_path:
            model = tf_keras().models.load_model(str(named_path), compile=False)
    except Exception as error:
        raise InputError(f"Keras cannot load it: {first_line(error)}", where=str(path)) from error
    if not model.built or not getattr(model, "inputs", None):
        fix = "Call the model on a sample before saving it, or build it with the functional API"
        raise InputError("has no input shape", where=str(path), fix=fix)
    return model


def _with_keras(facts: ModelFacts, model: Any, output: str, notes: tuple[str, ...] = ()) -> LoadedModel:
    judged = judged_positions(output_names(model), output, facts.path)
    model, notes = _in_float32(facts, model, notes)

    def export(folder: Path) -> None:
        model.export(str(folder))

    predict, ending = partial(outputs_of_keras, model, judged=judged), ending_of_keras(model, judged[0])
    model, flattened = _flat(model)
    return LoadedModel(facts, model, predict, export, notes + flattened, judged, ending)


def _in_float32(facts: ModelFacts, model: Any, notes: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The model with float32 layers, where some compute in less."""
    if not facts.mixed:
        return model, notes
    return in_float32(model), (*notes, f"its layers compute in float32 instead of {facts.mixed}")


def _flat(model: Any) -> tuple[Any, tuple[str, ...]]:
    flat, taken_apart = flatten(model)
    return flat, (f"nested models were taken apart into their layers: {', '.join(taken_apart)}",) if taken_apart else ()


def _from_keras3(facts: ModelFacts, allow_unsafe: bool, output: str) -> LoadedModel:
    with named_as(facts.path, SUFFIX[facts.format]) as path:
        source = load_keras3(path, allow_unsafe=allow_unsafe, where=str(facts.path))
    model: Any | None = None
    source, notes = _in_float32(facts, source, ("translated from Keras 3 layer by layer",))
    try:
        model, flattened = _flat(translate(source))
        notes += flattened
    except Untranslatable as error:
        notes = (str(error), *notes[1:])
    except Exception as error:
        notes = (f"it cannot be translated to Keras 2: {first_line(error)}", *notes[1:])

    def export(folder: Path) -> None:
        source.export(str(folder), format="tf_saved_model", verbose=False)

    judged = judged_positions(output_names(source), output, facts.path)
    predict, ending = partial(outputs_of_keras, source, judged=judged), ending_of_keras(source, judged[0])
    return LoadedModel(facts, model, predict, export, notes, judged, ending)


def _from_tflite(facts: ModelFacts, output: str) -> LoadedModel:
    file = FloatFile(facts.path, packed=bool(facts.packed))

    def export(path: Path) -> None:
        shutil.copyfile(file.path, path)

    def predict(x: Array) -> Array:
        return outputs_of(file.path, x, judged)

    judged = judged_positions(ends_of(file.path)[1], output, facts.path)
    told = FROM_QUANTIZED if facts.quantized else "its values are taken as float32"
    notes = tuple(note for note in (f"{told} ({facts.packed})" if facts.packed else "", facts.only_graph) if note)
    return LoadedModel(facts, None, predict, export, notes, judged, ending_of_tflite(file.path, judged[0]))


def _from_saved_model(facts: ModelFacts, allow_unsafe: bool, output: str) -> LoadedModel:
    """A SavedModel: the Keras model in it if it can be rebuilt from its configuration, else its signature."""
    reason = facts.only_graph
    if not reason:
        try:
            model = _load_keras2(facts, allow_unsafe)
            tf_keras().models.model_from_json(model.to_json())
            return _with_keras(facts, model, output)
        except Exception as error:
            reason = f"its Keras model cannot be rebuilt: {first_line(error)}"
    tf = tensorflow()
    name = signature_of(facts.path)
    try:
        loaded = tf.saved_model.load(str(facts.path))
        serve = loaded.signatures[name]
    except Exception as error:
        raise InputError(f"TensorFlow cannot load it: {first_line(error)}", where=str(facts.path)) from error
    specs = serve.structured_input_signature[1]
    outputs = sorted(serve.structured_outputs)
    judged = judged_positions(outputs, output, facts.path)
    batch = next((spec.shape[0] for spec in specs.values() if spec.shape.rank), None)

    def predict(x: Array) -> Array:
        size = batch or BATCH
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]) if batch else part
            fed = {name or next(iter(specs)): value for name, value in named(padded).items()}
            found = serve(**{key: tf.cast(fed[key], spec.dtype) for key, spec in specs.items()})
            parts.append(side_by_side([np.asarray(found[outputs[one]]) for one in judged])[: len(part)])
        return np.concatenate(parts)

    def export(folder: Path) -> None:
        module = tf.Module()
        module.source = loaded
        signature = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in specs.items()}
        call = tf.function(lambda **tensors: serve(**tensors)).get_concrete_function(**signature)
        tf.saved_model.save(module, str(folder), signatures=call)

    return LoadedModel(facts, None, predict, export, (reason,), judged, ending_of_graph(serve, judged[0]))


def outputs_of_keras(model: Any, x: Array, judged: Judged = (0,)) -> Array:
    """One output of a Keras model, of either version, for every sample, in the batches that it was built for.

    Recurrent layers that keep their state start anew with each batch.

    Args:
        model: The model.
        x: `[samples, …]`, of several inputs a structured array.
        judged: Positions of the output, or of those that are wanted side by side.
    """
    batch = next((int(tensor.shape[0]) for tensor in model.inputs or [] if tensor.shape[0] is not None), None)
    keeping = [layer for layer in model.layers if getattr(layer, "stateful", False)]
    if batch is None and not keeping:
        return _judged(model.predict(_fed(model, x), batch_size=BATCH, verbose=0), judged)
    found, size = [], batch or 1
    for start in range(0, len(x), size):
        part = x[start : start + size]
        for layer in keeping:
            (getattr(layer, "reset_state", None) or layer.reset_states)()
        filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        found.append(_judged(model.predict_on_batch(_fed(model, filled)), judged)[: len(part)])
    return np.concatenate(found)


def _fed(model: Any, x: Array) -> Any:
    """Samples as a Keras model takes them: several inputs in its order."""
    parts = named(x)
    return parts[""] if set(parts) == {""} else [parts[name] for name in input_names(model)]


def _judged(found: Any, judged: Judged) -> Array:
    found = list(found.values()) if isinstance(found, dict) else found
    parts = [found[one] for one in judged] if isinstance(found, list | tuple) else [found]
    return side_by_side([np.asarray(part) for part in parts])


def input_names(model: Any) -> list[str]:
    """Names of a Keras model's inputs, of either version, in the order it takes them."""
    return list(getattr(model, "input_names", None) or [tensor.name for tensor in model.inputs])


def output_names(model: Any) -> list[str]:
    """Names of a Keras model's outputs, of either version, in their order."""
    return list(getattr(model, "output_names", None) or [tensor.name for tensor in model.outputs])
