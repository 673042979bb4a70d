"""Whether outputs are logits or probabilities: read from every kind of model, and what the config may say of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.errors import InputError
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.ending import ending_of_keras, ending_of_tflite, settled
from litemill.models.source import load_source


def endings(k: Any) -> dict[str, tuple[Callable[[Any], Any], str]]:
    """Last layers behind 4 features, and what they give."""
    layers = k.layers
    inner = k.Sequential([k.Input((4,)), layers.Dense(1, activation="sigmoid")])
    return {
        "dense": (layers.Dense(1), "logits"),
        "sigmoid": (layers.Dense(1, activation="sigmoid"), "probabilities"),
        "layer": (lambda x: layers.Activation("sigmoid")(layers.Dense(1)(x)), "probabilities"),
        "softmax": (lambda x: layers.Softmax()(layers.Dense(2)(x)), "probabilities"),
        "reshaped": (lambda x: layers.Reshape((2, 1))(layers.Dense(2, activation="sigmoid")(x)), "probabilities"),
        "reshaped logits": (lambda x: layers.Reshape((2, 1))(layers.Dense(2)(x)), "logits"),
        "nested": (inner, "probabilities"),
        "mask": (lambda x: layers.Conv1D(3, 1, activation="softmax")(layers.Reshape((4, 1))(x)), "probabilities"),
        "relu": (layers.Dense(1, activation="relu"), ""),
    }


@pytest.fixture(scope="module")
def models() -> dict[str, tuple[Any, str]]:
    k = tf_keras()
    made = {}
    for name, (layer, expected) in endings(k).items():
        inputs = k.Input((4,))
        made[name] = k.Model(inputs, layer(k.layers.Dense(4)(inputs))), expected
    inputs = k.Input((4,))
    made["function"] = k.Model(inputs, tensorflow().sigmoid(k.layers.Dense(1)(inputs))), "probabilities"
    made["sequential"] = k.Sequential([k.Input((4,)), k.layers.Dense(1)]), "logits"
    return made


def test_the_last_layer_of_a_keras_model_tells(models: dict[str, tuple[Any, str]]) -> None:
    found = {name: ending_of_keras(model) for name, (model, _) in models.items()}
    assert found == {name: expected for name, (_, expected) in models.items()}


def test_the_last_op_of_a_tflite_tells(models: dict[str, tuple[Any, str]], tmp_path: Path) -> None:
    for name in ("dense", "sigmoid", "softmax", "reshaped", "mask", "relu"):
        model, expected = models[name]
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(tensorflow().lite.TFLiteConverter.from_keras_model(model).convert())
        assert ending_of_tflite(path) == expected, name
    assert load_source(path).output_is == ""


def test_a_graph_without_layers_tells_and_so_does_keras_3(models: dict[str, tuple[Any, str]], tmp_path: Path) -> None:
    for name in ("sigmoid", "dense", "reshaped"):
        model, expected = models[name]
        model.export(str(tmp_path / name))
        assert load_source(tmp_path / name).output_is == expected, name
    import keras

    for activation, expected in (("sigmoid", "probabilities"), (None, "logits")):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation=activation)])
        model.save(tmp_path / "model.keras")
        assert load_source(tmp_path / "model.keras").output_is == expected


def test_what_the_model_does_not_tell_its_outputs_or_the_config_do() -> None:
    inside, outside = np.array([[0.0], [1.0]]), np.array([[0.2], [-1.5]])
    assert settled("", "", inside, "m") == "probabilities"
    assert settled("", "", outside, "m") == "logits"
    assert settled("logits", "", inside, "m") == "logits"
    assert settled("logits", "logits", inside, "m") == "logits"
    with pytest.raises(InputError, match=r"ends in a sigmoid or softmax, but data\.output_is says logits"):
        settled("logits", "probabilities", inside, "m")
