"""Nested models taken apart: the same network, its layers in one graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.models.backend import tf_keras
from litemill.models.flatten import flatten
from litemill.models.source import load_source

X = np.random.default_rng(0).random((6, 8, 8, 1)).astype(np.float32)


def block(shape: tuple[int, ...], name: str) -> Any:
    """A nested model with a nested model in it, and a layer named like one outside."""
    layers, keras = tf_keras().layers, tf_keras()
    deep = keras.Sequential([layers.Input(shape), layers.Conv2D(shape[-1], 3, padding="same", name="deep")], name="d")
    x = layers.Input(shape)
    same = layers.Conv2D(shape[-1], 1, use_bias=False, name="first")(x)
    return keras.Model(x, layers.Add()([deep(x), layers.BatchNormalization(name="norm")(same)]), name=name)


@pytest.fixture
def nested() -> Any:
    layers, keras = tf_keras().layers, tf_keras()
    inside = block((8, 8, 4), "block")
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
            inside,
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="scores"),
        ]
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.random(weight.shape) + 0.1 for weight in model.get_weights()])
    return model


def test_a_flat_model_computes_the_same_under_the_same_names(nested: Any) -> None:
    flat, taken_apart = flatten(nested)

    assert taken_apart == ["block"]
    assert not any(hasattr(layer, "layers") for layer in flat.layers)
    assert {"image", "first", "deep", "norm", "block_first", "scores"} <= {layer.name for layer in flat.layers}
    assert (flat.input_names, flat.output_names) == (["image"], ["scores"])
    assert np.array_equal(flat.predict(X, verbose=0), nested.predict(X, verbose=0))
    assert sum(w.size for w in flat.get_weights()) == sum(w.size for w in nested.get_weights())


def test_a_nested_model_that_is_called_twice_stays_one_set_of_weights() -> None:
    layers, keras = tf_keras().layers, tf_keras()
    counterpart = block((8, 8, 1), "twin")
    image = layers.Input((8, 8, 1))
    model = keras.Model(image, layers.Flatten()(counterpart(counterpart(image))))

    flat, _ = flatten(model)

    assert len(flat.get_layer("deep").inbound_nodes) == 2
    assert len(flat.weights) == len(model.weights)
    assert np.array_equal(flat.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_model_without_nested_ones_is_left_as_it_is(nested: Any) -> None:
    flat, _ = flatten(nested)

    assert flatten(flat) == (flat, [])


def test_of_several_outputs_none_loses_its_name() -> None:
    layers, keras = tf_keras().layers, tf_keras()
    image = layers.Input((8, 8, 1))
    model = keras.Model(image, [block((8, 8, 1), "mask")(image), layers.Flatten(name="flat")(image)])

    assert flatten(model) == (model, [])


def test_importing_takes_nested_models_apart_and_says_so(nested: Any, tmp_path: Path) -> None:
    nested.save(tmp_path / "model.keras")

    source = load_source(tmp_path / "model.keras")

    assert source.notes == ("nested models were taken apart into their layers: block",)
    assert source.keras is not None and "deep" in {layer.name for layer in source.keras.layers}
    assert np.allclose(source.predict(X), source.keras.predict(X, verbose=0), rtol=1e-6)
