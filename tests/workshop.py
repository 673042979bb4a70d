"""Build Model and Dataset artifacts by the contract, for tests that need other ones than the shared digits."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import DATASET, MODEL, SAVED_MODEL, SPLITS, TFLITE, X, Y
from litemill.compress.train import train
from litemill.config.run import Training
from litemill.config.steps import TRAIN_STEPS, Step, TrainOptions, parse_step
from litemill.convert import worker
from litemill.convert.bundle import convert_bundle
from litemill.evidence.base import TensorInfo
from litemill.evidence.sources import DatasetManifest, ModelManifest, SplitInfo
from litemill.evidence.variant import VariantManifest
from litemill.models.backend import tf_keras
from litemill.models.store import save_model

Array = NDArray[Any]


def write_dataset(folder: Path, samples: dict[str, tuple[Array, Array]], classes: int) -> Path:
    """Write a Dataset artifact with the splits given; the others are copies of the first."""
    splits = {}
    for split in SPLITS:
        x, y = samples.get(split, next(iter(samples.values())))
        (folder / split).mkdir(parents=True)
        np.save(folder / split / X, x.astype(np.float32))
        np.save(folder / split / Y, y.astype(np.int64))
        splits[split] = SplitInfo(
            samples=len(x), x_sha256=sha256_of(folder / split / X), y_sha256=sha256_of(folder / split / Y)
        )
    manifest = DatasetManifest(
        kind="test",
        uri="",
        source_sha256="",
        input_shape=list(x.shape[1:]),
        dtype="float32",
        classes=classes,
        preprocessing={},
        seed=0,
        value_range=(0.0, 1.0),
        splits=splits,
    )
    write_manifest(folder / DATASET, manifest)
    return folder


def write_model(folder: Path, model: Any) -> Path:
    """Write the part of a Model artifact that conversion reads, from a tf_keras model."""
    model.export(str(folder / SAVED_MODEL))
    manifest = ModelManifest(
        origin="test",
        origin_sha256="",
        sha256=sha256_of(folder / SAVED_MODEL),
        inputs=[TensorInfo(name="input", shape=[-1, *model.input_shape[1:]], dtype="float32")],
        outputs=[TensorInfo(name="output", shape=[-1, *model.output_shape[1:]], dtype="float32")],
        parameters=model.count_params(),
    )
    write_manifest(folder / MODEL, manifest)
    return folder


def saved(model: Any, folder: Path) -> Path:
    """Write a whole Model artifact, which train-aware steps read too, from a tf_keras model."""
    save_model(model, ModelManifest(origin="made here", origin_sha256="0" * 64), folder)
    return folder


def convert_here(
    model: Path, scheme: str, input_shape: list[int], out: Path, *, inputs: dict[str, list[int]] | None = None
) -> Path:
    """Convert by a scheme without calibration in this process, not slimmed: no second start of TensorFlow."""
    job = {"name": scheme, "scheme": scheme, "options": {}, "inputs": inputs or {"": input_shape}, "output": ""}
    job |= {"seed": 0, "calibration": ""}
    job |= {"train": "", "task": "", "fewest": 1}
    paths = {"saved_model": model / SAVED_MODEL, "static_model": model / "static", "out": out}
    paths["findings"] = out.with_suffix(".json")
    worker.convert({**job, **{name: str(path) for name, path in paths.items()}})
    return out


def keras() -> Any:
    """tf_keras, seeded."""
    module = tf_keras()
    module.utils.set_random_seed(0)
    return module


@dataclass(frozen=True)
class Workshop:
    """A trained model with its data, and the bundle of every scheme converted from it."""

    dataset: Path
    model: Path
    keras: Any
    bundle: Path
    manifests: dict[str, VariantManifest]

    def tflite(self, recipe: str) -> Path:
        return self.bundle / recipe / TFLITE


RECIPES = {
    "float32": ["float32"],
    "float16": ["float16"],
    "dynamic": ["dynamic"],
    "int8": ["int8"],
    "int8-uint8-io": [{"int8": {"io": "uint8"}}],
    "int8-float-io": [{"int8": {"io": "float32"}}],
    "int8-per-tensor": [{"int8": {"per_channel": False}}],
    "int16x8": ["int16x8"],
    "mixed-int8": ["mixed-int8"],
    "weights-int8": ["weights-int8"],
    "weights-int4": ["weights-int4"],
}


def digits() -> tuple[Array, Array]:
    """scikit-learn's handwritten digits: x `[1797, 8, 8, 1]` in [0, 1], y `[1797]`."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[..., np.newaxis] / 16).astype(np.float32), found.target


def digits_cnn(k: Any) -> Any:
    """Conv, BatchNorm, ReLU; depthwise, BatchNorm, ReLU6; flatten; dense; softmax."""
    layers = k.layers
    return k.Sequential(
        [
            k.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
            layers.Softmax(),
        ]
    )


@cache
def workshop() -> Workshop:
    """Train on the digits for seconds and convert by every scheme; made once in a test session."""
    folder = Path(tempfile.mkdtemp(prefix="litemill-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    x, y = digits()
    samples = {"train": (x[:1200], y[:1200]), "calibration": (x[:100], y[:100]), "test": (x[1200:], y[1200:])}
    dataset = write_dataset(folder / "dataset", samples, classes=10)
    model = digits_cnn(keras())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*samples["train"], batch_size=32, epochs=20, verbose=0)
    artifact = write_model(folder / "model", model)
    recipes = {name: [parse_step(step) for step in steps] for name, steps in RECIPES.items()}
    manifests = convert_bundle(artifact, recipes, folder / "variants", dataset=dataset, seed=7)
    return Workshop(dataset, artifact, model, folder / "variants", {item.recipe: item for item in manifests})


def take(
    model: Path, dataset: Path, options: TrainOptions, training: Training, out: Path, source: Path | None = None
) -> ModelManifest:
    """Take the train-aware step of these options in this process: a second import of TensorFlow takes seconds."""
    name = next(name for name, kind in TRAIN_STEPS.items() if kind is type(options))
    step = Step(name=name, options=options.model_dump(mode="json", exclude_unset=True))
    return train(model, dataset, step, out=out, training=training, source=source, isolated=False)
