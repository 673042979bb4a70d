"""Models of keras.applications, of Keras 2 and of today's Keras: doctor, import, int8 and a train-aware step.

Their weights are random and their BatchNorm statistics are those of real images, moved at random: as in a trained model
no layer is the identity. Images are small, so that the whole file takes a quarter of an hour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from litemill.artifacts.files import read_manifest
from litemill.config.run import DataSpec
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.doctor.diagnose import doctor
from litemill.evidence.variant import VariantManifest
from litemill.models.backend import tf_keras
from litemill.models.keras3 import keras3
from litemill.runtime import Runner
from litemill.stages.import_model import import_model
from litemill.stages.train import train

pytestmark = pytest.mark.e2e

CLASSES = 10
SMALLEST = {"Xception": 71}
SIZE = 32
OPTIONS: dict[str, dict[str, Any]] = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"dropout_rate": 0.0},
    "MobileNetV3Large": {"dropout_rate": 0.0},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "ResNet50V2": {},
    "DenseNet121": {},
    "Xception": {},
    "NASNetMobile": {},
}
STEPS = {"MobileNet": "qat", "ResNet50V2": "qat", "NASNetMobile": "finetune", "DenseNet121": "finetune"}
"""The train-aware step of each; `prune` for the others."""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Path]]:
    """By size: an npz and the Dataset of crops of the two photographs that scikit-learn ships; labels mean nothing."""
    found = {}
    for size in {SIZE, *SMALLEST.values()}:
        root = tmp_path_factory.mktemp(f"photographs{size}")
        rng = np.random.default_rng(0)
        images = load_sample_images().images
        arrays: dict[str, Any] = {}
        for split, count in (("train", 48), ("test", 96)):
            crops = []
            for number in range(count):
                image = images[number % len(images)]
                top, left = rng.integers(0, image.shape[0] - size), rng.integers(0, image.shape[1] - size)
                crops.append(image[top : top + size, left : left + size])
            arrays |= {f"x_{split}": np.stack(crops), f"y_{split}": np.arange(count) % CLASSES}
        np.savez(root / "d.npz", **arrays)
        prepare_data(_data(root / "d.npz"), 0, root / "dataset")
        found[size] = root / "d.npz", root / "dataset"
    return found


def _data(path: Path) -> DataSpec:
    return DataSpec.model_validate(
        {"kind": "npz", "uri": str(path), "limit": {"calibration": 24}, "preprocessing": {"scale": 1 / 255}}
    )


def spread_out(model: Any, x: np.ndarray) -> None:
    """Let BatchNorm see real images, move its statistics at random, and let the last layer tell images apart."""
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for layer in norms:
        layer.momentum = 0.0
    model(x, training=True)
    rng = np.random.default_rng(0)
    for layer in norms:
        layer.moving_mean.assign(np.asarray(layer.moving_mean) + 0.05 * rng.normal(size=layer.moving_mean.shape))
        layer.moving_variance.assign(
            np.asarray(layer.moving_variance) * rng.uniform(0.8, 1.25, layer.moving_mean.shape)
        )
        layer.momentum = 0.99
    last = next(layer for layer in reversed(model.layers) if hasattr(layer, "kernel"))
    last.kernel.assign(np.asarray(last.kernel) * 30.0)


@pytest.mark.parametrize("version", ["keras2", "keras3"])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_application_comes_through(
    name: str, version: str, photographs: dict[int, tuple[Path, Path]], tmp_path: Path
) -> None:
    size = SMALLEST.get(name, SIZE)
    samples, dataset = photographs[size]
    data = Splits.open(dataset)
    keras = tf_keras() if version == "keras2" else keras3()
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        input_shape=(size, size, 3), weights=None, classes=CLASSES, **OPTIONS[name]
    )
    spread_out(model, np.asarray(data.train.x))
    source = tmp_path / ("m.h5" if version == "keras2" else "m.keras")
    model.save(str(source))
    expected = model.predict(np.asarray(data.test.x), verbose=0)
    assert len(set(expected.argmax(1))) > 1, "agreement on a constant answer would mean nothing"

    step = STEPS.get(name, "prune")
    recipes = {"int8": ["int8"], "trained": [step, "int8"]}
    config = {"name": "m", "model": {"uri": str(source)}, "data": _data(samples).model_dump(), "recipes": recipes}
    assert set(doctor(config).recipes) == set(recipes)

    manifest = import_model(source, dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    float32 = Runner(tmp_path / "baseline/baseline/model.tflite").run(data.test.x)
    assert np.mean(float32.argmax(1) == expected.argmax(1)) >= 0.99
    convert_bundle(tmp_path / "model", {"int8": [Step(name="int8")]}, tmp_path / "variants", dataset=dataset)
    variant = read_manifest(tmp_path / "variants/int8/variant.json", VariantManifest)
    assert variant.status == "ok" or "layer " in variant.reason, variant.reason
    if variant.status == "ok":
        assert Runner(tmp_path / "variants/int8/model.tflite").run(data.test.x).shape == expected.shape

    if not manifest.trainable:
        assert any("layer " in note or "operation " in note for note in manifest.notes), manifest.notes
        return
    training = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-4}  # ten steps, the fewest to prune in
    trained = train(tmp_path / "model", dataset, step, training=training, out=tmp_path / "trained")
    assert trained.status == "ok" or any(layer.name in trained.reason for layer in model.layers), trained.reason
