"""Float `.tflite` files of known networks: rebuilt at import, pruned, trained for quantization, shipped as int8.

Weights are random and BatchNorm statistics those of real images, moved at random, so that no layer is the identity.
Images are small: what is tried is that every network comes through, not how good it becomes.
"""

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
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evidence.variant import VariantManifest
from litemill.models.backend import tf_keras
from litemill.runtime import Runner
from litemill.stages.import_model import import_model
from litemill.stages.train import train
from tests.e2e.test_keras_applications import spread_out
from tests.models.made_tflites import model_to_tflite, trained_a_little
from tests.test_two_inputs import INPUTS, build, save_data
from tests.workshop import digits, saved, write_dataset

pytestmark = pytest.mark.e2e

CLASSES, SIZE, TRAIN, TEST = 4, 32, 96, 64
TRAINING = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4, "validation": 0.0}
FLOAT = {"unsupported": "float"}
"""Layers that TFMOT does not take (attention over channels and over time) stay float in training."""


def application(name: str, **options: Any) -> Any:
    """One of keras.applications for small images."""
    build = getattr(tf_keras().applications, name)
    return build(input_shape=(SIZE, SIZE, 3), weights=None, classes=CLASSES, **options)


def unet() -> Any:
    """Two scales with skip connections, BatchNormalization and transposed convolutions; a class for each pixel."""
    n = tf_keras().layers

    def block(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = n.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = n.ReLU()(n.BatchNormalization()(x))
        return x

    inputs = n.Input((SIZE, SIZE, 3))
    high = block(inputs, 8)
    low = block(n.MaxPooling2D()(high), 16)
    bottom = block(n.MaxPooling2D()(low), 32)
    x = block(n.Concatenate()([n.Conv2DTranspose(16, 2, strides=2)(bottom), low]), 16)
    x = block(n.Concatenate()([n.UpSampling2D(2, interpolation="bilinear")(x), high]), 8)
    return tf_keras().Model(inputs, n.Conv2D(CLASSES, 1, activation="softmax")(x))


def transformer() -> Any:
    """Patches of an image as tokens, positions, and one block of attention."""
    n = tf_keras().layers
    inputs = n.Input((SIZE, SIZE, 3))
    tokens = (SIZE // 8) ** 2
    x = n.Reshape((tokens, 24))(n.Conv2D(24, 8, strides=8)(inputs))
    x = x + np.random.default_rng(0).normal(0, 0.1, (1, tokens, 24)).astype(np.float32)
    x = n.Add()([x, n.MultiHeadAttention(2, 12)(*[n.LayerNormalization()(x)] * 2)])
    y = n.Dense(24)(n.Dense(48, activation="relu")(n.LayerNormalization()(x)))
    x = n.LayerNormalization()(n.Add()([x, y]))
    return tf_keras().Model(inputs, n.Dense(CLASSES, activation="softmax")(n.GlobalAveragePooling1D()(x)))


NETWORKS: dict[str, Callable[[], Any]] = {
    "MobileNetV2": lambda: application("MobileNetV2", alpha=0.35),
    "MobileNetV3Small": lambda: application("MobileNetV3Small", dropout_rate=0.0),
    "EfficientNetV2B0": lambda: application("EfficientNetV2B0"),
    "unet": unet,
    "transformer": transformer,
}
REFUSED_BY_QAT = {"transformer": "arithmetic between layers"}
"""What TFMOT takes in no form, and the words it is refused with."""


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By task a Dataset of crops of two photographs; labels mean nothing."""
    rng, images = np.random.default_rng(0), load_sample_images().images
    arrays: dict[str, Any] = {}
    for split, count in (("train", TRAIN), ("test", TEST)):
        crops = []
        for number in range(count):
            image = images[number % len(images)]
            top, left = (rng.integers(0, size - SIZE) for size in image.shape[:2])
            crops.append(image[top : top + SIZE, left : left + SIZE])
        arrays |= {f"x_{split}": np.stack(crops), f"y_{split}": np.arange(count) % CLASSES}
    found = {}
    for task in ("classification", "segmentation"):
        root = tmp_path_factory.mktemp(task)
        if task == "segmentation":
            arrays |= {
                f"y_{split}": rng.integers(0, CLASSES, (count, SIZE, SIZE))
                for split, count in (("train", TRAIN), ("test", TEST))
            }
        np.savez(root / "d.npz", **arrays)
        data = {"kind": "npz", "uri": str(root / "d.npz"), "limit": {"calibration": 24}, "task": task}
        prepare_data(DataSpec.model_validate({**data, "preprocessing": {"scale": 1 / 255}}), 0, root / "dataset")
        found[task] = root / "dataset"
    return found


def shipped(model: Path, dataset: Path, out: Path) -> VariantManifest:
    """The int8 variant of a model."""
    convert_bundle(model, {"int8": [Step(name="int8")]}, out, dataset=dataset)
    return read_manifest(out / "int8/variant.json", VariantManifest)


def test_a_resnet_of_pytorchs_is_pruned_and_trained_for_int8(tmp_path: Path) -> None:
    x, y = digits()
    x = np.moveaxis(x, -1, 1)  # PyTorch's layout
    samples = {"train": (x[:1347], y[:1347]), "calibration": (x[:100], y[:100]), "test": (x[1347:], y[1347:])}
    dataset = write_dataset(tmp_path / "dataset", samples, classes=10)
    source = Path(__file__).parents[1] / "models/pytorch/digits_resnet.tflite"
    manifest = import_model(source, dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert manifest.rebuilt is not None and len(manifest.rebuilt.batch_norm) == 7, manifest.notes
    training = {"epochs": 3, "batch_size": 64, "learning_rate": 1e-3}
    for step, before in (("prune", "model"), ("qat", "prune")):
        done = train(tmp_path / before, dataset, step, training=training, out=tmp_path / step)
        assert done.status == "ok", done.reason
        variant = shipped(tmp_path / step, dataset, tmp_path / f"{step}-int8")
        assert variant.status == "ok", variant.reason
        outputs = Runner(tmp_path / f"{step}-int8/int8/model.tflite").run(np.asarray(x[1347:]))
        assert np.mean(outputs.argmax(1) == y[1347:]) > 0.88


def test_several_inputs_and_outputs_keep_their_names_through_training(tmp_path: Path) -> None:
    save_data(tmp_path / "d.npz")
    spec = DataSpec(kind="npz", uri=str(tmp_path / "d.npz"), inputs=INPUTS, output="scores")
    prepare_data(spec, 0, tmp_path / "data")
    saved(build(), tmp_path / "keras")
    convert_bundle(tmp_path / "keras", {"float": [Step(name="float32")]}, tmp_path / "float")
    source = tmp_path / "float/float/model.tflite"
    manifest = import_model(source, tmp_path / "data", out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert manifest.rebuilt is not None and set(manifest.rebuilt.error) == {"place", "scores"}, manifest.notes
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3}
    for step, before in (("finetune", "model"), ("qat", "finetune")):
        done = train(tmp_path / before, tmp_path / "data", step, training=training, out=tmp_path / step)
        assert done.status == "ok", done.reason
        assert {info.name for info in done.inputs} == {"picture", "context"} and done.judged == "scores"
    variant = shipped(tmp_path / "qat", tmp_path / "data", tmp_path / "int8")
    assert variant.status == "ok" and variant.output == "scores", variant.reason


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_rebuilt_pruned_and_trained_for_int8(name: str, datasets: dict[str, Path], tmp_path: Path) -> None:
    dataset = datasets["segmentation" if name == "unet" else "classification"]
    data = Splits.open(dataset)
    tf_keras().utils.set_random_seed(0)
    model = trained_a_little(NETWORKS[name]())
    spread_out(model, np.asarray(data.train.x))
    source = model_to_tflite(model, tmp_path / "m.tflite")
    manifest = import_model(source, dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert manifest.trainable, manifest.notes
    assert manifest.rebuilt is not None and max(manifest.rebuilt.error.values()) < 1e-2
    assert set(manifest.rebuilt.ops) <= {"ADD", "SUB"}, "taking a constant off is adding another; all else is the same"
    assert manifest.rebuilt.batch_norm

    pruned = train(tmp_path / "model", dataset, "prune", training=TRAINING, out=tmp_path / "pruned")
    assert pruned.status == "ok", pruned.reason
    assert "rebuilt from the .tflite" in pruned.steps[0].warnings[-1]
    quantized = train(tmp_path / "pruned", dataset, {"qat": FLOAT}, training=TRAINING, out=tmp_path / "qat")
    if name in REFUSED_BY_QAT:
        assert REFUSED_BY_QAT[name] in quantized.reason
    else:
        assert quantized.status == "ok", quantized.reason
    for folder in ("pruned", "qat"):
        variant = shipped(tmp_path / folder, dataset, tmp_path / f"{folder}-int8")
        if folder == "qat" and name in REFUSED_BY_QAT:
            assert variant.status == "failed"
            continue
        # Random weights are no classifier: what quantization makes of them may collapse, and is then refused by name.
        assert variant.status == "ok" or "int8" in variant.reason, variant.reason
        if variant.status == "ok":
            outputs = Runner(tmp_path / f"{folder}-int8/int8/model.tflite").run(np.asarray(data.test.x))
            assert np.isfinite(outputs).all() and outputs.shape[0] == TEST
