"""Models of keras.applications as current Keras saves them: imported, verified and converted to int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from litemill.artifacts.files import read_manifest
from litemill.config.run import DataSpec
from litemill.config.steps import Step
from litemill.convert import convert_bundle
from litemill.data import Splits, prepare_data
from litemill.evidence import VariantManifest
from litemill.models.keras3 import keras3
from litemill.runtime import Runner
from litemill.stages.import_model import import_model

pytestmark = pytest.mark.e2e

SIZE = 64
CLASSES = 10

MODELS: dict[str, Callable[[Any], Any]] = {
    "MobileNetV2": lambda applications: applications.MobileNetV2(
        (SIZE, SIZE, 3), alpha=0.35, weights=None, classes=CLASSES
    ),
    "EfficientNetV2B0": lambda applications: applications.EfficientNetV2B0(
        input_shape=(SIZE, SIZE, 3), weights=None, classes=CLASSES
    ),
    "MobileNetV3Small": lambda applications: applications.MobileNetV3Small(
        (SIZE, SIZE, 3), weights=None, classes=CLASSES, dropout_rate=0.0
    ),
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset of 64×64 crops of the two photographs that scikit-learn ships, with labels that mean nothing."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    images = load_sample_images().images

    def crops(count: int) -> np.ndarray:
        found = []
        for number in range(count):
            image = images[number % len(images)]
            top, left = rng.integers(0, image.shape[0] - SIZE), rng.integers(0, image.shape[1] - SIZE)
            found.append(image[top : top + SIZE, left : left + SIZE])
        return np.stack(found)

    labels = {f"y_{name}": np.arange(count) % CLASSES for name, count in (("train", 64), ("test", 128))}
    np.savez(root / "d.npz", x_train=crops(64), x_test=crops(128), **labels)
    spec = DataSpec.model_validate({"kind": "npz", "uri": str(root / "d.npz"), "limit": {"calibration": 32}})
    prepare_data(spec, 0, root / "dataset")
    return root / "dataset"


def spread_out(model: Any, x: np.ndarray) -> None:
    """Let BatchNorm see real images and the last layer tell them apart, as a trained model does."""
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.0
    model(x, training=True)
    last = next(layer for layer in reversed(model.layers) if hasattr(layer, "kernel"))
    last.kernel.assign(last.kernel * 30.0)


@pytest.mark.parametrize("name", MODELS)
def test_current_keras_models_come_through(name: str, photographs: Path, tmp_path: Path) -> None:
    data = Splits.open(photographs)
    keras = keras3()
    keras.utils.set_random_seed(0)
    model = MODELS[name](keras.applications)
    spread_out(model, np.asarray(data.train.x))
    model.save(tmp_path / "m.keras")
    manifest = import_model(
        str(tmp_path / "m.keras"), photographs, out=tmp_path / "model", baseline=tmp_path / "baseline"
    )
    assert manifest.trainable, manifest.notes
    expected = model.predict(np.asarray(data.test.x), verbose=0)
    assert len(set(expected.argmax(1))) > 1, "agreement on a constant answer would mean nothing"
    float32 = Runner(tmp_path / "baseline/baseline/model.tflite").run(data.test.x)
    assert np.mean(float32.argmax(1) == expected.argmax(1)) >= 0.99
    recipes = {"int8": [Step(name="int8")]}
    convert_bundle(tmp_path / "model", recipes, tmp_path / "variants", dataset=photographs)
    variant = read_manifest(tmp_path / "variants/int8/variant.json", VariantManifest)
    assert variant.status == "ok", variant.reason
    assert Runner(tmp_path / "variants/int8/model.tflite").run(data.test.x).shape == expected.shape
