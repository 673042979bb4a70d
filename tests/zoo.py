"""Untrained models of the shapes we meet, converted and not slimmed, for tests of what reads or rewrites a file."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from litemill.artifacts.layout import SAVED_MODEL
from litemill.convert import worker
from litemill.models.backend import tf_keras


def ds_cnn(k: Any) -> Any:
    """Like the keyword-spotting DS-CNN of MLPerf Tiny: one convolution, four depthwise-separable blocks of 64."""
    inputs = k.Input((49, 10, 1))
    x = _conv(k, inputs, 64, (10, 4), 2)
    for _ in range(4):
        x = _conv(k, _depthwise(k, x, 1), 64, 1, 1)
    return k.Model(inputs, k.layers.Dense(12, activation="softmax")(k.layers.GlobalAveragePooling2D()(x)))


def mobilenet(k: Any) -> Any:
    """Like MobileNetV1 0.25: 13 depthwise-separable blocks of 8 to 256 channels."""
    inputs = k.Input((32, 32, 3))
    x = _conv(k, inputs, 8, 3, 2)
    for filters, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)):
        x = _conv(k, _depthwise(k, x, stride), filters, 1, 1)
    return k.Model(inputs, k.layers.Dense(2, activation="softmax")(k.layers.GlobalAveragePooling2D()(x)))


def resnet(k: Any) -> Any:
    """Like ResNet8 of MLPerf Tiny, narrower: three stacks with shortcuts."""
    inputs = k.Input((16, 16, 3))
    x = _conv(k, inputs, 8, 3, 1)
    for filters, stride in ((8, 1), (16, 2), (32, 2)):
        y = _conv(k, x, filters, 3, stride)
        y = k.layers.BatchNormalization()(k.layers.Conv2D(filters, 3, padding="same")(y))
        if stride > 1:
            x = k.layers.Conv2D(filters, 1, strides=stride, padding="same")(x)
        x = k.layers.ReLU()(k.layers.Add()([x, y]))
    return k.Model(inputs, k.layers.Dense(10, activation="softmax")(k.layers.GlobalAveragePooling2D()(x)))


def dense(k: Any) -> Any:
    """Like the autoencoder of MLPerf Tiny, narrower."""
    layers = [k.Input((64,)), *(k.layers.Dense(units, activation="relu") for units in (32, 8, 32)), k.layers.Dense(64)]
    return k.Sequential(layers)


def _conv(k: Any, x: Any, filters: int, size: Any, stride: int) -> Any:
    x = k.layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(x)
    return k.layers.ReLU()(k.layers.BatchNormalization()(x))


def _depthwise(k: Any, x: Any, stride: int) -> Any:
    x = k.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    return k.layers.ReLU()(k.layers.BatchNormalization()(x))


MODELS = {"ds_cnn": ds_cnn, "mobilenet": mobilenet, "resnet": resnet, "dense": dense}


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="litemill-zoo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def saved_model(name: str) -> tuple[Path, list[int]]:
    """SavedModel of a model with uneven BatchNorm statistics, as training leaves them, and its input shape."""
    k = tf_keras()
    k.utils.set_random_seed(0)
    model, rng = MODELS[name](k), np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, k.layers.BatchNormalization):
            channels = len(layer.get_weights()[0])
            scale, spread = rng.uniform(0.5, 1.5, channels), rng.uniform(0.5, 2.0, channels)
            layer.set_weights([scale, rng.normal(0, 0.2, channels), rng.normal(0, 0.2, channels), spread])
    model.export(str(_folder() / name / SAVED_MODEL))
    return _folder() / name / SAVED_MODEL, [-1, *model.input_shape[1:]]


@cache
def tflite(name: str, scheme: str) -> Path:
    """A model of the zoo converted by a scheme, not slimmed."""
    path, shape = saved_model(name)
    calibration = path.parent / "calibration.npy"
    np.save(calibration, np.random.default_rng(1).random((8, *shape[1:]), np.float32))
    out = path.parent / f"{scheme}.tflite"
    job = {"name": name, "scheme": scheme, "options": {}, "saved_model": str(path), "inputs": {"": shape}}
    job |= {"output": "", "seed": 0}
    job |= {"train": "", "task": "", "fewest": 1}
    files = {
        "static_model": path.parent / "static",
        "calibration": calibration,
        "out": out,
        "findings": path.parent / "findings.json",
    }
    worker.convert({**job, **{key: str(value) for key, value in files.items()}})
    return out
