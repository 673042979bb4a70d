"""Models as other people have them: .h5 of today's Keras, mixed precision, integer inputs, state, own layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.errors import InputError
from litemill.models.backend import tf_keras
from litemill.models.keras3 import keras3
from litemill.models.peek import peek
from litemill.models.source import load_source
from litemill.stages.import_model import relative_error

IMAGES = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 1)).astype(np.float32)


def cnn(keras: Any, **options: Any) -> Any:
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image", **options)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(image))
    x = layers.Bidirectional(layers.LSTM(3))(layers.Reshape((36, 4))(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", dtype="float32")(x))


def test_an_h5_of_todays_keras_works_like_the_keras_file(tmp_path: Path) -> None:
    model = cnn(keras3())
    model.compile("adam", "sparse_categorical_crossentropy")
    expected = model.predict(IMAGES, verbose=0)
    for name in ("m.h5", "m.keras", "other.hdf5"):
        path = tmp_path / name
        model.save(path.with_suffix(".h5") if path.suffix == ".hdf5" else path)
        if path.suffix == ".hdf5":
            path.with_suffix(".h5").rename(path)
        facts = peek(path)
        assert facts.is_keras3 and facts.keras_version.startswith("3.") and facts.input_shape == (8, 8, 1)
        source = load_source(path)
        assert source.keras is not None, source.notes
        for found in (source.predict(IMAGES), source.keras.predict(IMAGES, verbose=0)):
            assert relative_error(expected, found) < 1e-4


@pytest.mark.parametrize("version", ["keras2", "keras3"])
def test_a_model_of_mixed_precision_is_loaded_with_float32_layers(version: str, tmp_path: Path) -> None:
    keras = tf_keras() if version == "keras2" else keras3()
    policy = keras.mixed_precision.set_global_policy if version == "keras2" else keras.config.set_dtype_policy
    policy("mixed_float16")
    try:
        model = cnn(keras)
    finally:
        policy("float32")
    half = model.predict(IMAGES, verbose=0)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        facts = peek(tmp_path / name)
        assert facts.mixed == "mixed_float16" and facts.input_dtype == "float32"
        source = load_source(tmp_path / name)
        assert source.keras is not None and "in float32 instead of mixed_float16" in " ".join(source.notes)
        assert {layer.compute_dtype for layer in source.keras.layers} == {"float32"}
        outputs = source.predict(IMAGES)
        assert relative_error(outputs, source.keras.predict(IMAGES, verbose=0)) < 1e-4
        assert 0 < np.abs(outputs - half).max() < 0.01, "the same model, computed with more digits"


def test_types_batch_and_state_are_read_from_the_file(tmp_path: Path) -> None:
    keras = tf_keras()
    layers = keras.layers
    pixels = keras.Input((4, 4, 1), dtype="uint8", name="pixels")
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    joined = layers.Concatenate()(
        [layers.Flatten()(layers.Rescaling(1 / 255)(pixels)), layers.Flatten()(layers.Embedding(9, 2)(tokens))]
    )
    model = keras.Model([pixels, tokens], layers.Dense(2)(joined))
    stateful = keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), layers.LSTM(2, stateful=True, name="memory")])
    for name in ("m.h5", "m.keras", "m_saved"):
        model.save(tmp_path / name)
        facts = peek(tmp_path / name)
        assert dict(zip(facts.input_names, facts.input_dtypes, strict=True)) == {"pixels": "uint8", "tokens": "int32"}
        assert (facts.batch, facts.stateful, facts.mixed) == (None, (), "")
        stateful.save(tmp_path / f"stateful_{name}")
        facts = peek(tmp_path / f"stateful_{name}")
        assert (facts.batch, facts.stateful) == (2, ("memory",))
    free = keras3().Sequential([keras3().Input((None, None, 3), dtype="bool"), keras3().layers.GlobalMaxPooling2D()])
    free.save(tmp_path / "free.keras")
    facts = peek(tmp_path / "free.keras")
    assert (facts.input_shape, facts.input_dtype) == ((None, None, 3), "bool")


@pytest.mark.parametrize("version", ["keras2", "keras3"])
def test_a_layer_of_the_users_own_is_named_with_the_way_out(version: str, tmp_path: Path) -> None:
    keras = tf_keras() if version == "keras2" else keras3()

    class Squeeze(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x * 2.0

    image = keras.Input((8, 8, 1))
    layer = keras.saving.register_keras_serializable("mine")(Squeeze)(name="squeeze")
    model = keras.Model(image, keras.layers.Flatten()(layer(image)))
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        with pytest.raises(InputError, match=r"layer 'squeeze': the class 'mine>Squeeze' .*model\.export"):
            peek(tmp_path / name)
    model.export(str(tmp_path / "exported"))
    folders = [tmp_path / "exported"]
    if version == "keras2":
        model.save(tmp_path / "saved", save_format="tf")
        assert "mine>Squeeze" in peek(tmp_path / "saved").untrusted
        folders.append(tmp_path / "saved")
    for folder in folders:
        assert relative_error(model.predict(IMAGES, verbose=0), load_source(folder).predict(IMAGES)) < 1e-6
