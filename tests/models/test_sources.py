"""Every source a model may come from, compared with what its own framework computes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.data.splits import Splits
from litemill.errors import InputError, StepFailed
from litemill.evidence.sources import ModelManifest
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.keras3 import keras3
from litemill.models.peek import peek
from litemill.models.source import load_source
from litemill.models.store import load_model
from litemill.runtime import Runner
from litemill.stages.import_model import import_model, relative_error

IMAGES = np.random.default_rng(0).uniform(0, 1, (40, 8, 8, 3)).astype(np.float32)
SERIES = np.random.default_rng(1).normal(0, 1, (6, 5, 8)).astype(np.float32)
ROWS = np.random.default_rng(2).normal(3, 2, (6, 6)).astype(np.float32)


def randomize(model: Any) -> Any:
    """Give every weight a value of its own, so that a weight in the wrong place shows."""
    rng = np.random.default_rng(3)
    model.set_weights(
        [np.abs(rng.normal(0.2, 0.3, weight.shape)) + 0.01 * rng.random() for weight in model.get_weights()]
    )
    return model


def small_cnn(keras: Any) -> Any:
    layers = keras.layers
    image = layers.Input((8, 8, 3), name="image")
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(image)))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return randomize(keras.Model(image, layers.Dense(3)(x), name="small"))


KERAS2: dict[str, Callable[[Any, Path], Path]] = {
    "h5": lambda model, root: save(model, root / "m.h5"),
    "keras": lambda model, root: save(model, root / "m.keras"),
    "saved-model-of-tf-keras": lambda model, root: save(model, root / "folder", save_format="tf"),
}


def save(model: Any, path: Path, **options: Any) -> Path:
    model.save(str(path), **options)
    return path


def exported(model: Any, root: Path) -> Path:
    """Only the graph: what `model.export` leaves."""
    model.export(str(root / "folder"))
    return root / "folder"


def plain_module(model: Any, root: Path) -> Path:
    """A tf.Module with a signature of its own name and a fixed batch, as old exports have."""
    tf = tensorflow()
    module = tf.Module()
    module.model = model
    signature = [tf.TensorSpec([16, 8, 8, 3], name="pixels")]
    call = tf.function(lambda pixels: {"scores": model(pixels)}, input_signature=signature)
    tf.saved_model.save(module, str(root / "folder"), signatures={"predict": call})
    return root / "folder"


@pytest.mark.parametrize("kind", KERAS2)
def test_keras_2_sources(kind: str, tmp_path: Path) -> None:
    model = small_cnn(tf_keras())
    path = KERAS2[kind](model, tmp_path)
    assert peek(path).input_shape == (8, 8, 3)
    assert "DepthwiseConv2D" in [layer.class_name for layer in peek(path).layers]
    source = load_source(path)
    assert source.keras is not None
    expected = model.predict(IMAGES, verbose=0)
    assert relative_error(expected, source.predict(IMAGES)) < 1e-6
    assert relative_error(expected, source.keras.predict(IMAGES, verbose=0)) < 1e-6


@pytest.mark.parametrize("write", [exported, plain_module])
def test_a_saved_model_without_keras_metadata_is_a_graph(write: Any, tmp_path: Path) -> None:
    model = small_cnn(tf_keras())
    path = write(model, tmp_path)
    assert peek(path).input_shape == (8, 8, 3)
    source = load_source(path)
    assert source.keras is None and "without Keras metadata" in source.notes[0]
    assert relative_error(model.predict(IMAGES, verbose=0), source.predict(IMAGES)) < 1e-6
    source.export(tmp_path / "again")
    assert relative_error(source.predict(IMAGES), load_source(tmp_path / "again").predict(IMAGES)) < 1e-6


def functional(keras: Any) -> tuple[Any, np.ndarray]:
    layers, ops = keras.layers, keras.ops
    image = keras.Input((8, 8, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(image)))
    y = layers.Activation("hard_silu")(layers.DepthwiseConv2D(3, padding="same")(x))
    joined = layers.Concatenate()([layers.Add()([x, y]), x * y, x - y])
    z = layers.SeparableConv2D(5, 3, activation="relu6")(joined)
    z = layers.Concatenate()([layers.GlobalAveragePooling2D()(z), layers.GlobalMaxPooling2D()(joined)])
    z = ops.relu6(z * 0.2 + 1.0) / 3.0 + ops.hard_sigmoid(0.5 - z)
    z = layers.Dense(4, activation="leaky_relu")(1.0 - z)
    return keras.Model(image, layers.Dense(3, activation="swish")(layers.LeakyReLU(0.1)(z))), IMAGES


def sequential(keras: Any) -> tuple[Any, np.ndarray]:
    layers = keras.layers
    rows = [layers.Rescaling(1 / 255, offset=-1.0), layers.RandomFlip(), layers.RandomRotation(0.1)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *rows, layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(3)])
    return model, IMAGES * 255


def nested(keras: Any) -> tuple[Any, np.ndarray]:
    layers = keras.layers
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="hard_sigmoid"), layers.Dropout(0.2)])
    row = keras.Input((6,))
    shared = layers.Dense(4, activation="tanh")
    return keras.Model(row, layers.Concatenate()([inner(row), shared(row), shared(row + 1.0)])), ROWS


def recurrent(keras: Any) -> tuple[Any, np.ndarray]:
    layers = keras.layers
    hidden = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    return keras.Sequential(
        [keras.Input((5, 8)), hidden, layers.LayerNormalization(), layers.GRU(4), layers.Dense(3)]
    ), SERIES


def attention(keras: Any) -> tuple[Any, np.ndarray]:
    layers = keras.layers
    series = keras.Input((5, 8))
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(series, series) + series)
    return keras.Model(series, layers.Dense(3)(layers.GlobalAveragePooling1D()(x))), SERIES


def normalized(keras: Any) -> tuple[Any, np.ndarray]:
    norm = keras.layers.Normalization()
    norm.adapt(ROWS)
    return keras.Sequential([keras.Input((6,)), norm, keras.layers.Dense(3)]), ROWS


@pytest.mark.parametrize("build", [functional, sequential, nested, recurrent, attention, normalized])
def test_a_keras_3_model_is_translated(build: Any, tmp_path: Path) -> None:
    model, x = build(keras3())
    if build is not normalized:
        randomize(model)
    model.save(tmp_path / "m.keras")
    assert peek(tmp_path / "m.keras").format == "keras3"
    source = load_source(tmp_path / "m.keras")
    assert source.keras is not None, source.notes
    expected = model.predict(x, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.01, "outputs that differ, or agreement would mean nothing"
    assert relative_error(expected, source.keras.predict(x, verbose=0)) < 1e-4
    source.keras.save(tmp_path / "again.keras")
    again = tf_keras().models.load_model(tmp_path / "again.keras", safe_mode=True)
    assert relative_error(expected, again.predict(x, verbose=0)) < 1e-4


def test_layers_keep_their_names_and_options(tmp_path: Path) -> None:
    keras = keras3()
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, kernel_regularizer=keras.regularizers.L2(0.01), name="first")(image)
    model = keras.Model(image, keras.layers.Flatten()(keras.layers.LeakyReLU(0.2, name="leaky")(x)))
    model.save(tmp_path / "m.keras")
    counterpart = load_source(tmp_path / "m.keras").keras
    assert counterpart.input_names == ["image"]
    assert counterpart.get_layer("first").strides == (2, 2)
    assert float(counterpart.get_layer("first").kernel_regularizer.l2) == pytest.approx(0.01)
    assert float(counterpart.get_layer("leaky").alpha) == pytest.approx(0.2)


def squared(keras: Any) -> Any:
    return keras.layers.LayerNormalization(rms_scaling=True, name="norm")


def unknown_layer(keras: Any) -> Any:
    return keras.layers.RMSNormalization(name="rms")


def unknown_activation(keras: Any) -> Any:
    return keras.layers.Dense(4, activation="squareplus", name="dense")


def unknown_operation(keras: Any) -> Any:
    return lambda x: keras.ops.cumsum(x, axis=1)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (squared, r"layer 'norm' \(LayerNormalization\) has option rms_scaling=True, unknown to Keras 2"),
        (unknown_layer, r"layer 'rms' \(RMSNormalization\) has no counterpart in Keras 2"),
        (unknown_activation, r"layer 'dense': activation 'squareplus' has no counterpart in Keras 2"),
        (unknown_operation, r"operation 'cumsum.*' \(keras\.ops Cumsum\) has no counterpart in Keras 2"),
    ],
)
def test_what_keras_2_lacks_is_named_and_leaves_a_graph(layer: Any, reason: str, tmp_path: Path) -> None:
    keras = keras3()
    row = keras.Input((6,))
    model = keras.Model(row, keras.layers.Dense(3)(layer(keras)(row)))
    model.save(tmp_path / "m.keras")
    source = load_source(tmp_path / "m.keras")
    assert source.keras is None
    assert re.search(reason, source.notes[0])
    source.export(tmp_path / "graph")
    assert relative_error(model.predict(ROWS, verbose=0), load_source(tmp_path / "graph").predict(ROWS)) < 1e-5


def test_a_graph_is_imported_for_post_training_recipes_only(
    digits_model: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    load_model(digits_model).export(str(tmp_path / "folder"))
    manifest = import_model(
        str(tmp_path / "folder"), digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline"
    )
    assert not manifest.trainable and manifest == read_manifest(tmp_path / "model/model.json", ModelManifest)
    assert manifest.parameters == load_model(digits_model).count_params()
    x = Splits.open(digits_dataset).test.x
    outputs = Runner(tmp_path / "baseline/baseline/model.tflite").run(x)
    assert relative_error(load_model(digits_model).predict(x, verbose=0), outputs) < 1e-4
    with pytest.raises(StepFailed, match="train-aware steps need a Keras 2 model: a SavedModel without Keras metadata"):
        load_model(tmp_path / "model")


def test_a_lambda_runs_only_when_allowed(tmp_path: Path) -> None:
    layers = tf_keras().layers
    model = randomize(tf_keras().Sequential([layers.Input((6,)), layers.Dense(3), layers.Lambda(lambda x: x * 2)]))
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        with pytest.raises(InputError, match=r"set model\.allow_unsafe: true"):
            load_source(tmp_path / name)
        source = load_source(tmp_path / name, allow_unsafe=True)
        np.testing.assert_allclose(source.predict(ROWS), model.predict(ROWS, verbose=0), rtol=1e-5)


def test_broken_saved_models_get_one_clear_error(tmp_path: Path) -> None:
    def answer() -> str:
        with pytest.raises(InputError) as error:
            load_source(tmp_path / "folder")
        assert "\n" not in str(error.value)
        return str(error.value)

    exported(small_cnn(tf_keras()), tmp_path)
    graph = tmp_path / "folder/saved_model.pb"
    whole = graph.read_bytes()
    (tmp_path / "folder/variables/variables.index").unlink()
    assert "folder: TensorFlow cannot load it" in answer()
    graph.write_bytes(whole[:1000])
    assert "saved_model.pb: is truncated or damaged" in answer()
    graph.write_bytes(b"")
    assert "has no signature 'serving_default'; it has none" in answer()
    graph.unlink()
    assert "is a folder without saved_model.pb: no SavedModel" in answer()
