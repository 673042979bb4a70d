"""Fix the batch of a SavedModel to one: microcontrollers and NPU compilers want static shapes, and a free one costs
ops.

Most models only need their signature called with another shape. A recurrent layer that was traced with a free batch
keeps lists whose shape the converter then does not know: it is traced anew from the Keras model. A graph that was
traced for batches of 50, and nothing else, is read again with another input. Imports TensorFlow: for workers only.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litemill.convert.batch import SIGNATURE
from litemill.convert.refusal import refusal
from litemill.errors import StepFailed, own_fault
from litemill.flatbuffer.graph import report
from litemill.flatbuffer.reader import parse_model
from litemill.models.backend import tensorflow, tf_keras

log = logging.getLogger(__name__)

LOOP = "WHILE"
LONGEST_UNROLLED = 128
"""Time steps that are written out: each is a dozen ops in the file, and a second of the converter's time."""
REBUILD_FIX = (
    "Export it with a batch of 1 or a free one, e.g. by model.export; of recurrent layers bring the Keras model"
)


def static_model(saved_model: Path, keras: Path | None, out: Path) -> None:
    """Write a copy of a SavedModel whose signature has batch 1, names of inputs and outputs kept.

    Args:
        saved_model: Folder of the model.
        keras: The same as a `.keras` archive, where there is one.
        out: Folder to write; it is there afterwards only if TFLite's converter takes it.

    Raises:
        StepFailed: The converter takes the model in none of the forms, with its reason for the first.
    """
    ways: list[Callable[[], None]] = [lambda: _call_with_one(saved_model, out)]
    if keras is not None:
        ways.append(lambda: _trace_anew(keras, out))
    ways.append(lambda: _read_again(saved_model, out))
    reasons: list[str] = []
    for make in ways:
        try:
            make()
            _try(out)
        except StepFailed:
            raise
        except Exception as error:
            if own_fault(error):
                raise
            log.info("%s: %s", saved_model, error)
            reasons.append(refusal(error))
            shutil.rmtree(out, ignore_errors=True)
        else:
            return
    raise StepFailed(reasons[0], fix="" if keras else REBUILD_FIX)


def without_loops(static: Path, keras: Path | None, scheme: str) -> Path:
    """A model that can be calibrated: TFLite's calibrator crashes on a loop, which most recurrent layers become.

    Args:
        static: As `static_model` wrote it.
        keras: The same as a `.keras` archive, where there is one.
        scheme: Names what is to be made, in errors.

    Returns:
        The same folder where there is no loop, else one beside it whose recurrent layers are unrolled.

    Raises:
        StepFailed: There is no Keras model to unroll, or a sequence is too long.
    """
    from litemill.convert.from_saved_model import float_model

    if LOOP not in report(parse_model(float_model(static), where=str(static))).ops:
        return static
    what = f"{scheme}: TFLite's calibrator crashes on a loop, which a recurrent layer of this model becomes"
    if keras is None:
        raise StepFailed(
            what, fix="Use dynamic or weights-int8, or bring the Keras model, whose layers can be unrolled"
        )
    unrolled = static.with_name(f"{static.name}-unrolled")
    if not unrolled.exists():
        model = _load(keras)
        longest = max([int(layer.input_shape[1] or 0) for layer in model.layers if _loops(layer)], default=0)
        if not 0 < longest <= LONGEST_UNROLLED:
            fix = "Use dynamic or weights-int8, or an LSTM with its default activations, which is one operation"
            raise StepFailed(f"{what}; {longest} steps are too many to unroll (at most {LONGEST_UNROLLED})", fix=fix)
        _trace(_unrolled(model), unrolled)
    return unrolled


def _loops(layer: Any) -> bool:
    inner = getattr(layer, "forward_layer", layer)
    return hasattr(inner, "unroll")


def _unrolled(model: Any) -> Any:
    """The same model with every step of its recurrent layers in the graph."""
    keras = tf_keras()

    def unroll(config: Any) -> Any:
        if isinstance(config, dict):
            return {key: True if key == "unroll" else unroll(value) for key, value in config.items()}
        return config

    def copy(layer: Any) -> Any:
        return type(layer).from_config(unroll(layer.get_config()))

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def _load(keras: Path) -> Any:
    from tensorflow_model_optimization.quantization.keras import quantize_scope

    with quantize_scope():
        return tf_keras().models.load_model(str(keras), compile=False)


def _try(static: Path) -> None:
    """Convert to float, which is wanted for comparison anyway."""
    from litemill.convert.from_saved_model import float_model

    float_model(static)


def _call_with_one(saved_model: Path, out: Path) -> None:
    """Call the signature with one sample, and keep the graph as it is."""
    tf = tensorflow()
    model = tf.saved_model.load(str(saved_model))
    if SIGNATURE not in model.signatures:
        raise StepFailed(f"has no signature {SIGNATURE!r}", where=str(saved_model), fix="Export the model with one")
    served = model.signatures[SIGNATURE]
    fixed = tf.function(lambda **tensors: served(**tensors)).get_concrete_function(**_single(served))
    holder = tf.Module()
    holder.model = model
    tf.saved_model.save(holder, str(out), signatures={SIGNATURE: fixed})


def _trace_anew(keras: Path, out: Path) -> None:
    """Trace the Keras model for one sample."""
    _trace(_load(keras), out)


def _trace(model: Any, out: Path) -> None:
    tf = tensorflow()
    names = model.input_names
    single = {
        name: tf.TensorSpec([1, *tensor.shape[1:]], tensor.dtype, name)
        for name, tensor in zip(names, model.inputs, strict=True)
    }

    def serve(**tensors: Any) -> dict[str, Any]:
        found = model([tensors[name] for name in names] if len(names) > 1 else tensors[names[0]], training=False)
        return dict(zip(model.output_names, tf.nest.flatten(found), strict=True))

    holder = tf.Module()
    # The variables alone: with the model each of its layers would be traced and saved too.
    holder.kept = model.variables
    fixed = tf.function(serve, autograph=False).get_concrete_function(**single)
    tf.saved_model.save(holder, str(out), signatures={SIGNATURE: fixed})


def _read_again(saved_model: Path, out: Path) -> None:
    """Put the frozen graph behind inputs of one sample: shapes that are not written into its ops follow."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf = tensorflow()
    model = tf.saved_model.load(str(saved_model))  # its variables live as long as it does
    served = model.signatures[SIGNATURE]
    frozen = convert_variables_to_constants_v2(served, lower_control_flow=False)
    graph, single = frozen.graph.as_graph_def(), _single(served)
    places = dict(zip(sorted(single), (tensor.name for tensor in frozen.inputs), strict=True))
    ends = [tensor.name for tensor in frozen.outputs]

    def serve(**tensors: Any) -> dict[str, Any]:
        fed = {place: tensors[name] for name, place in places.items()}
        found = tf.graph_util.import_graph_def(graph, input_map=fed, return_elements=ends, name="")
        return dict(zip(sorted(served.structured_outputs), found, strict=True))

    fixed = tf.function(serve, autograph=False).get_concrete_function(**single)
    tf.saved_model.save(tf.Module(), str(out), signatures={SIGNATURE: fixed})


def _single(served: Any) -> dict[str, Any]:
    """What a signature takes, for one sample."""
    tf = tensorflow()
    return {
        name: tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, name)
        for name, spec in served.structured_input_signature[1].items()
    }
