"""Kinds of models that the converter takes only in the right form: recurrent, with state, of free size, fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import KERAS_MODEL, MODEL, SAVED_MODEL
from litemill.benchmark.files import subject_of
from litemill.benchmark.tflm import TflmTarget
from litemill.config.targets import parse_target
from litemill.convert import worker
from litemill.convert.batch import follow_batch
from litemill.errors import StepFailed
from litemill.evidence.sources import ModelManifest
from litemill.flatbuffer.graph import is_integer_only
from litemill.flatbuffer.reader import read_model
from litemill.models.backend import tensorflow
from litemill.models.keras3 import keras3
from litemill.models.sized import sized
from litemill.models.source import load_source
from litemill.models.store import save_graph, save_model
from litemill.runtime import Runner
from litemill.runtime.runner import same_answers
from litemill.stages.import_model import computes_otherwise
from tests.workshop import keras

SEQUENCES = np.random.default_rng(0).normal(size=(40, 12, 2)).astype(np.float32)
IMAGES = np.random.default_rng(0).random((40, 12, 12, 3), np.float32)
slow = pytest.mark.e2e


@dataclass(frozen=True)
class Kind:
    """A kind of model: how it is built, and samples for it."""

    build: Callable[[Any], Any]
    x: Any = field(default_factory=lambda: SEQUENCES)


def over_time(*layers: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
    """A classifier of sequences with these layers."""

    def build(k: Any) -> Any:
        inputs = k.Input(**options) if options else k.Input((12, 2))
        x = inputs
        for layer in layers:
            x = layer(k.layers)(x)
        return k.Model(inputs, k.layers.Dense(3, activation="softmax")(x))

    return build


def attention(k: Any) -> Any:
    inputs = k.Input((12, 2))
    x = k.layers.LayerNormalization()(k.layers.Dense(16)(inputs))
    x = k.layers.Add()([x, k.layers.MultiHeadAttention(2, 8)(x, x)])
    return k.Model(inputs, k.layers.Dense(3, activation="softmax")(k.layers.GlobalAveragePooling1D()(x)))


def convolution(*shape: int | None, batch: int | None = None) -> Callable[[Any], Any]:
    def build(k: Any) -> Any:
        inputs = k.Input(batch_shape=(batch, *shape))
        x = k.layers.Conv2D(8, 3, activation="relu")(inputs)
        return k.Model(inputs, k.layers.Dense(3, activation="softmax")(k.layers.GlobalMaxPooling2D()(x)))

    return build


KINDS: dict[str, Kind] = {
    "gru": Kind(over_time(lambda layers: layers.GRU(8))),
    "lstm": Kind(over_time(lambda layers: layers.LSTM(8))),
    "stateful": Kind(over_time(lambda layers: layers.LSTM(8, stateful=True), batch_shape=(1, 12, 2))),
    "attention": Kind(attention),
    "free-size": Kind(convolution(None, None, 3), IMAGES),
    "batch-of-50": Kind(convolution(12, 12, 3, batch=50), IMAGES),
    "bidirectional": Kind(over_time(lambda layers: layers.Bidirectional(layers.GRU(8)))),
    "simple-rnn": Kind(over_time(lambda layers: layers.SimpleRNN(8))),
    "relu": Kind(over_time(lambda layers: layers.LSTM(8, activation="relu"))),
    "masking": Kind(over_time(lambda layers: layers.Masking(), lambda layers: layers.LSTM(8))),
    "recurrent-dropout": Kind(over_time(lambda layers: layers.LSTM(8, recurrent_dropout=0.2))),
    "two-layers": Kind(over_time(lambda layers: layers.GRU(8, return_sequences=True), lambda layers: layers.GRU(4))),
    "free-length": Kind(over_time(lambda layers: layers.GRU(8), shape=(None, 2))),
    "conv-lstm": Kind(
        over_time(
            lambda layers: layers.Reshape((3, 4, 2, 1)),
            lambda layers: layers.ConvLSTM2D(4, 2),
            lambda layers: layers.Flatten(),
        )
    ),
}
FAST = ("gru", "lstm", "stateful", "attention", "free-size", "batch-of-50")


def bring_in(model: Any, x: Any, folder: Path, name: str = "source.h5") -> tuple[ModelManifest, Any]:
    """Save a model, bring it into a Model artifact as importing does; its manifest and the source's own outputs."""
    model.save(str(folder / name))
    source = sized(load_source(folder / name), {"": x.shape[1:]})
    manifest = ModelManifest(origin="test", origin_sha256="", notes=list(source.notes))
    assert source.keras is not None, source.notes
    return save_model(source.keras, manifest, folder / "model"), source.predict(x)


def convert(folder: Path, scheme: str, x: Any, **options: Any) -> Path:
    """Convert a Model artifact in this process."""
    model, out = folder / "model", folder / f"{scheme}.tflite"
    np.save(folder / "x.npy", x)
    info = read_manifest(model / MODEL, ModelManifest).inputs[0]
    job = {"name": scheme, "scheme": scheme, "options": options, "inputs": {"": info.shape}, "output": "", "seed": 0}
    job |= {"dtypes": {"": info.dtype}, "train": "", "task": "classification", "output_is": "", "fewest": 1}
    paths = {
        "saved_model": model / SAVED_MODEL,
        "static_model": folder / "static",
        "out": out,
        "test": folder / "x.npy",
    }
    paths |= {"calibration": folder / "x.npy", "findings": folder / "findings.json"}
    if (model / KERAS_MODEL).is_file():
        paths["keras"] = model / KERAS_MODEL
    worker.convert(job | {name: str(path) for name, path in paths.items()})
    return out


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=slow) for name in KINDS])
def test_the_float_file_computes_what_keras_does_for_any_batch(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    manifest, expected = bring_in(kind.build(keras()), kind.x, tmp_path)
    assert [info.shape for info in manifest.inputs] == [[-1, *kind.x.shape[1:]]]
    file = convert(tmp_path, "float32", kind.x)
    assert list(Runner(file, batch=1).inputs[""]["shape"]) == [1, *kind.x.shape[1:]]
    alone = Runner(file, batch=1).run(kind.x)
    assert computes_otherwise(expected, alone) == ""
    assert same_answers(Runner(file).run(kind.x), alone)
    if name == "stateful":
        assert any("'lstm" in note and "is stateful" in note for note in manifest.notes)
        assert np.array_equal(Runner(file, batch=1).run(kind.x[::-1])[::-1], alone), "the order of samples matters"


@pytest.mark.parametrize("name", ["lstm", pytest.param("gru", marks=slow), pytest.param("bidirectional", marks=slow)])
def test_int8_recurrent_layers_hold_integers_alone_and_run_on_a_microcontroller(name: str, tmp_path: Path) -> None:
    """An LSTM lists the ranges between its gates as float tensors that nothing computes with."""
    kind = KINDS[name]
    _, expected = bring_in(kind.build(keras()), kind.x, tmp_path)
    file = convert(tmp_path, "int8", kind.x)
    assert is_integer_only(read_model(file))
    found = Runner(file, kernels="reference").run(kind.x)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    subject = subject_of(file)
    measured = TflmTarget(parse_target("tflm")).measure([subject], kind.x[:8])[subject.sha256]
    assert measured.status == "ok", measured.reason
    assert measured.parity
    assert measured.parity.steps is not None
    assert measured.parity.steps <= 3
    assert measured.arena_bytes


def test_a_graph_for_batches_of_50_becomes_a_file_for_one_sample(tmp_path: Path) -> None:
    """A SavedModel that is only a graph: there is no Keras model to trace anew."""
    tf = tensorflow()
    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([50, 12, 12, 3], tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def serve(image: Any) -> dict[str, Any]:
        return {"scores": tf.reduce_max(tf.nn.conv2d(image, module.kernel, 2, "SAME"), [1, 2])}

    tf.saved_model.save(module, str(tmp_path / "source"), signatures=serve)
    source = sized(load_source(tmp_path / "source"), {"": (12, 12, 3)})
    save_graph(source.export, ModelManifest(origin="test", origin_sha256=""), tmp_path / "model")
    alone = Runner(convert(tmp_path, "float32", IMAGES), batch=1).run(IMAGES)
    assert computes_otherwise(source.predict(IMAGES), alone) == ""


def test_a_layer_that_the_converter_does_not_know_is_named_in_one_line(tmp_path: Path) -> None:
    tf, k = tensorflow(), keras()
    inputs = k.Input((8, 8, 1))
    model = k.Model(inputs, tf.math.bessel_i0e(k.layers.Conv2D(2, 3, name="front")(inputs)))
    save_graph(lambda folder: model.export(str(folder)), ModelManifest(origin="", origin_sha256=""), tmp_path / "model")
    with pytest.raises(StepFailed, match=r"TFLite has no operation for .*BesselI0e") as refused:
        convert(tmp_path, "float32", np.zeros((20, 8, 8, 1), np.float32))
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)


def test_a_file_that_mixes_the_samples_of_a_batch_stays_at_batch_one(tmp_path: Path) -> None:
    """Each answer is moved by the mean of the batch, so little that a tolerance over all outputs lets it pass."""
    tf = tensorflow()
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def serve(x: Any) -> dict[str, Any]:
        apart = 1e-3 * (x - tf.reduce_mean(x, axis=0, keepdims=True) + x[:, ::-1])
        return {"scores": tf.constant([0.0, 1.0, 2.0, 3.0]) + apart}

    tf.saved_model.save(module, str(tmp_path / "m"), signatures=serve)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m"), signature_keys=["serving_default"])
    file, x = tmp_path / "mixing.tflite", np.random.default_rng(0).random((9, 4), np.float32)
    file.write_bytes(converter.convert())
    before = file.read_bytes()
    assert not follow_batch(file, x)
    assert file.read_bytes() == before
    runner = Runner(file)
    assert runner.batch > 1
    assert np.array_equal(runner.run(x), Runner(file, batch=1).run(x))
    assert runner.batch == 1


def test_what_a_keras_3_recurrent_model_keeps_between_batches_is_left_behind(tmp_path: Path) -> None:
    k = keras3()
    inputs = k.Input(batch_shape=(1, 12, 2))
    x = k.layers.GRU(8, stateful=True, name="memory")(inputs)
    model = k.Model(inputs, k.layers.Dense(3, activation="softmax")(x))
    _, expected = bring_in(model, SEQUENCES, tmp_path, "source.keras")
    file = convert(tmp_path, "float32", SEQUENCES)
    assert computes_otherwise(expected, Runner(file).run(SEQUENCES)) == ""


def pixels(k: Any) -> Any:
    inputs = k.Input((12, 12, 1), dtype="uint8")
    x = k.layers.Conv2D(4, 3, activation="relu")(k.layers.Rescaling(1 / 255)(inputs))
    return k.Model(inputs, k.layers.Dense(3, activation="softmax")(k.layers.Flatten()(x)))


def tokens(dtype: str) -> Callable[[Any], Any]:
    def build(k: Any) -> Any:
        inputs = k.Input((10,), dtype=dtype)
        table = k.layers.Embedding(2000, 8, embeddings_initializer=k.initializers.RandomNormal(stddev=2.0))
        x = k.layers.GlobalAveragePooling1D()(table(inputs))
        return k.Model(inputs, k.layers.Dense(3, activation="softmax")(k.layers.Dense(8, activation="relu")(x)))

    return build


def flags(k: Any) -> Any:
    inputs = k.Input((10,), dtype="bool")
    x = k.layers.Dense(8, activation="relu")(tensorflow().cast(inputs, "float32"))
    return k.Model(inputs, k.layers.Dense(3, activation="softmax")(x))


RNG = np.random.default_rng(3)
NOT_FLOAT: dict[str, Kind] = {
    "uint8": Kind(pixels, RNG.integers(0, 256, (40, 12, 12, 1)).astype(np.uint8)),
    "int32": Kind(tokens("int32"), RNG.integers(0, 2000, (40, 10)).astype(np.int32)),
    "int64": Kind(tokens("int64"), RNG.integers(0, 2000, (40, 10))),
    "bool": Kind(flags, RNG.integers(0, 2, (40, 10)).astype(bool)),
    "ids as float32": Kind(tokens("float32"), RNG.integers(0, 2000, (40, 10)).astype(np.float32)),
}
SCHEMES: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": {},
    "dynamic": {},
    "weights-int8": {},
    "int8": {},
    "int16x8": {},
    "mixed-int8": {},
}


@pytest.mark.parametrize("name", ["uint8", "int32", *(pytest.param(one, marks=slow) for one in list(NOT_FLOAT)[2:])])
def test_inputs_that_are_not_float_stay_what_they_are_in_every_scheme(name: str, tmp_path: Path) -> None:
    """Pixels as bytes with the scaling inside, token ids, flags: quantization has no scale for them."""
    kind = NOT_FLOAT[name]
    manifest, expected = bring_in(kind.build(keras()), kind.x, tmp_path)
    assert manifest.inputs[0].dtype == str(kind.x.dtype)
    for scheme, options in SCHEMES.items():
        file = convert(tmp_path, scheme, kind.x, **options)
        runner = Runner(file)
        assert np.dtype(runner.inputs[""]["dtype"]) == kind.x.dtype, scheme
        assert np.corrcoef(runner.run(kind.x).ravel(), expected.ravel())[0, 1] > 0.98, scheme
        assert runner.noise(3).dtype == kind.x.dtype
        subject = subject_of(file)
        assert np.array_equal(subject.raw(kind.x), kind.x)
        if scheme == "int8":
            assert is_integer_only(read_model(file))
            measured = TflmTarget(parse_target("tflm")).measure([subject], kind.x[:8])[subject.sha256]
            assert measured.status == "ok", measured.reason
