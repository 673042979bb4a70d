"""MobileNetV2 through every train-aware step, alone and combined, to int8 files that keep what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import MODEL, TFLITE
from litemill.config.run import DataSpec, Limit, Training
from litemill.config.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest
from litemill.models.backend import make_deterministic, tf_keras
from litemill.models.store import save_model
from litemill.runtime import Runner
from tests.workshop import take

pytestmark = pytest.mark.e2e

SIDE = 48
TRAINING = Training(epochs=2, batch_size=32, learning_rate=1e-3)
COMBINATIONS = [
    "finetune",
    "prune",
    "prune24",
    "cluster",
    "qat",
    "prune-cluster",
    "prune-qat",
    "cluster-qat",
    "prune-cluster-qat",
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The handwritten digits, six times as large, in three channels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    large = np.kron(digits.images, np.ones((1, SIDE // 8, SIDE // 8)))[..., np.newaxis].repeat(3, axis=-1)
    x, y = (large / 8 - 1).astype(np.float32), digits.target.astype(np.int64)
    folder = tmp_path_factory.mktemp("images")
    np.savez(folder / "data.npz", x_train=x[:1200], y_train=y[:1200], x_test=x[1200:], y_test=y[1200:])
    prepare_data(DataSpec(kind="npz", uri=str(folder / "data.npz"), limit=Limit(calibration=64)), 0, folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="module")
def made(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A Model artifact by the steps it went through; the source learned from random weights in a few epochs."""
    folder = tmp_path_factory.mktemp("mobilenet")
    make_deterministic(0)
    keras = tf_keras()
    model = keras.applications.MobileNetV2((SIDE, SIDE, 3), alpha=0.35, weights=None, classes=10)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.9
    train = Splits.open(images).train
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.asarray(train.x), np.asarray(train.y), batch_size=32, epochs=6, verbose=0)
    save_model(model, ModelManifest(origin="MobileNetV2", origin_sha256="0" * 64), folder / "source")
    models = {"": folder / "source"}

    def make(name: str) -> Path:
        if name not in models:
            before, _, last = name.rpartition("-")
            start, out = make(before), folder / name
            if last == "finetune":
                take(start, images, FinetuneOptions(), TRAINING, out)
            elif last == "cluster":
                take(start, images, ClusterOptions(clusters=16), TRAINING, out)
            elif last == "qat":
                take(start, images, QatOptions(), TRAINING, out)
            else:
                take(start, images, PruneOptions(m_by_n=(2, 4) if "24" in last else None), TRAINING, out)
            models[name] = out
        return models[name]

    return make


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_combination_reaches_an_int8_file(
    name: str, made: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(made(name) / MODEL, ModelManifest)
    assert manifest.status == "ok", manifest.reason
    (variant,) = convert_bundle(made(name), {"int8": [{"name": "int8"}]}, tmp_path / "out", dataset=images)
    assert variant.status == "ok", variant.reason
    if "prune" in name:
        assert len(variant.proof) > 20
        assert min(proof.sparsity for proof in variant.proof) >= 0.48
    if "24" in name:
        assert all(proof.pattern_breaks == 0 for proof in variant.proof)
    if "cluster" in name:
        assert max(proof.distinct_in_channel for proof in variant.proof) <= 16
    test = Splits.open(images).test
    outputs = Runner(tmp_path / "out" / "int8" / TFLITE).run(np.asarray(test.x[:200]))
    assert np.mean(np.argmax(outputs, axis=1) == test.y[:200]) > 0.5
