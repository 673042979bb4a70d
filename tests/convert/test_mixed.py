"""A model that int8 ruins: mixed-int8 finds the culprit, and gets its accuracy back at nearly int8's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import sha256_of
from litemill.artifacts.layout import TFLITE
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.convert.sensitivity import PERFECT_DB, sqnr_db
from litemill.evidence.variant import VariantManifest
from litemill.runtime import Runner
from tests.workshop import digits, keras, write_dataset, write_model

X, Y = digits()
OUTLIER = 500.0


def collapsing_model() -> Any:
    """A trained CNN where one channel of the first activation is 500 times larger than the others.

    The next kernel divides it away again, so in float nothing changes; one scale for the whole tensor leaves the other
    channels no levels.
    """
    k = keras()
    layers = k.layers
    model = k.Sequential(
        [
            k.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="first"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(16, 3, padding="same", strides=2, activation="relu", name="second"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="third"),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="fourth"),
            layers.Dense(10, activation="softmax", name="last"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X[:1200], Y[:1200], epochs=12, verbose=0)
    gamma, beta, mean, variance = model.layers[1].get_weights()
    kernel, bias = model.get_layer("second").get_weights()
    for scaled in (gamma, beta):
        scaled[0] *= OUTLIER
    kernel[:, :, 0] /= OUTLIER
    model.layers[1].set_weights([gamma, beta, mean, variance])
    model.get_layer("second").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, VariantManifest], dict[str, float]]:
    """Manifests and test accuracies of the collapsing model by scheme."""
    folder = tmp_path_factory.mktemp("mixed")
    dataset = write_dataset(folder / "data", {"calibration": (X[:100], Y[:100])}, classes=10)
    recipes = {scheme: [Step(name=scheme)] for scheme in ("float32", "int8", "mixed-int8")}
    model = write_model(folder / "model", collapsing_model())
    manifests = convert_bundle(model, recipes, folder / "out", dataset=dataset)
    accuracy = {}
    for manifest in manifests:
        assert manifest.status == "ok", manifest.reason
        path: Path = folder / "out" / manifest.recipe / TFLITE
        assert manifest.sha256 == sha256_of(path)
        assert sorted(item.name for item in path.parent.iterdir()) == [TFLITE, "variant.json"]
        accuracy[manifest.recipe] = float(np.mean(Runner(path).run(X[1200:]).argmax(1) == Y[1200:]))
    return {manifest.recipe: manifest for manifest in manifests}, accuracy


@pytest.mark.e2e
def test_mixed_int8_recovers_the_loss_at_under_1_3_times_int8(converted: Any) -> None:
    manifests, accuracy = converted
    loss = accuracy["float32"] - accuracy["int8"]
    assert loss > 0.2
    assert accuracy["mixed-int8"] - accuracy["int8"] >= 0.8 * loss
    assert manifests["mixed-int8"].size_bytes < 1.3 * manifests["int8"].size_bytes


@pytest.mark.e2e
def test_the_culprit_is_named_and_left_in_float(converted: Any) -> None:
    layers = converted[0]["mixed-int8"].sensitivity
    assert [layer.sqnr_db for layer in layers] == sorted(layer.sqnr_db for layer in layers)
    worst, second, rest = layers[0], layers[1], layers[2:]
    assert any("first" in layer.name or "re_lu" in layer.name for layer in (worst, second))
    assert {worst.op, second.op} == {"CONV_2D"}
    assert worst.kept_float
    assert second.sqnr_db < 10 < min(layer.sqnr_db for layer in rest)
    assert not any(layer.kept_float for layer in rest)


@pytest.mark.e2e
def test_ops_left_in_float_show_in_the_graph(converted: Any) -> None:
    graph = converted[0]["mixed-int8"].graph
    dtypes = {tuple(weight.shape): weight.dtype for weight in graph.weights if len(weight.shape) > 1}
    assert dtypes[(16, 3, 3, 8)] == "float32"
    assert dtypes[(10, 64)] == "int8"
    assert graph.ops["DEQUANTIZE"] >= 1


def test_sqnr_is_20_db_for_a_tenth_of_noise() -> None:
    signal = np.random.default_rng(0).normal(size=100_000)
    noise = np.random.default_rng(1).normal(size=100_000)
    assert sqnr_db(signal, signal + 0.1 * noise) == pytest.approx(20, abs=0.1)
    assert sqnr_db(signal, signal) == PERFECT_DB
    assert sqnr_db(np.ones(5), np.zeros(5)) == -PERFECT_DB
