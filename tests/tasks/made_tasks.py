"""A small trained model with data for each task that has more than one decision or number a sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.models.backend import tf_keras

Array = NDArray[Any]
SIZE = 8


class Made(NamedTuple):
    """What is made for a task: samples and targets of a seed, a model, and how that is trained."""

    samples: Callable[[np.random.Generator, int], tuple[Array, Array]]
    model: Callable[[Any], Any]
    loss: Any
    """Keras' loss of a model that ends as this one does."""
    fed: Callable[[Array], Array] = np.asarray
    """Targets as that loss takes them."""
    detection: dict[str, Any] | None = None
    """The section of that name."""
    epochs: int = 6

    @property
    def section(self) -> dict[str, Any]:
        """What the data section says beside the task."""
        return {"detection": self.detection, "metric": "map50"} if self.detection else {}


def _blobs(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Images with a bright square, and its mask."""
    y = np.zeros((count, SIZE, SIZE), np.int64)
    for mask, (row, column) in zip(y, random.integers(0, SIZE - 4, (count, 2)), strict=True):
        mask[row : row + 4, column : column + 4] = 1
    x = y * 0.6 + random.random(y.shape) * 0.4
    return x[..., None].astype(np.float32), y


def _unet(k: Any) -> Any:
    inputs = k.Input((SIZE, SIZE, 1))
    x = k.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    return k.Model(inputs, k.layers.Conv2D(1, 3, padding="same")(x))  # logits, as TensorFlow's tutorial has it


def _tags(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    x = random.random((count, 6)).astype(np.float32)
    return x, (x[:, :3] > 0.6).astype(np.int64)


def _tagger(k: Any) -> Any:
    layers = [k.Input((6,)), k.layers.Dense(24, activation="relu"), k.layers.Dense(3, activation="sigmoid")]
    return k.Sequential(layers)


def _steps(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Sequences of 12 steps; the last ones of each are padding, which is not judged."""
    x = random.random((count, 12, 3)).astype(np.float32)
    y = x.argmax(axis=2)
    y[np.arange(12) >= random.integers(6, 13, (count, 1))] = -1
    return x, y


def _sequence(k: Any) -> Any:
    layers = [k.Input((12, 3)), k.layers.Conv1D(16, 1, activation="relu"), k.layers.Conv1D(3, 1, activation="softmax")]
    return k.Sequential(layers)


def _noisy(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Noisy images, and the images without their noise."""
    _, y = _blobs(random, count)
    return (y + 0.3 * random.normal(size=y.shape))[..., None].astype(np.float32), y[..., None].astype(np.float32)


def _denoiser(k: Any) -> Any:
    inputs = k.Input((SIZE, SIZE, 1))
    x = k.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    return k.Model(inputs, k.layers.Conv2D(1, 3, padding="same")(x))


GRID = 4
"""Cells of the detector on each side; a cell finds the square whose centre is in it."""


def _squares(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Images of 16 by 16 with up to two squares, bright (class 0) or hollow (class 1), and their boxes in pixels."""
    x = 0.2 * random.random((count, 16, 16, 1))
    y = np.zeros((count, 2, 5))
    y[..., 4] = -1
    for sample in range(count):
        halves = random.permutation(2)[: random.integers(1, 3)]
        for box, half in enumerate(halves):
            size, label = random.integers(4, 7), random.integers(0, 2)
            top, left = random.integers(0, 17 - size), half * 8 + random.integers(0, 9 - size)
            x[sample, top : top + size, left : left + size] += 0.7
            if label:
                x[sample, top + 1 : top + size - 1, left + 1 : left + size - 1] -= 0.6
            y[sample, box] = left, top, left + size, top + size, label
    return x.astype(np.float32), y.astype(np.float32)


def cells(y: Array) -> Array:
    """What the detector is to give for boxes: `[samples, cells, 6]`, centre and size in parts of the image, scores."""
    found = np.zeros((len(y), GRID, GRID, 6), np.float32)
    found[..., :4] = 0.5
    for sample, boxes in enumerate(y):
        for left, top, right, bottom, label in boxes[boxes[:, 4] >= 0]:
            across, down = (left + right) / 32, (top + bottom) / 32
            cell = found[sample, min(int(down * GRID), GRID - 1), min(int(across * GRID), GRID - 1)]
            cell[:4] = across, down, (right - left) / 16, (bottom - top) / 16
            cell[4 + int(label)] = 1
    return found.reshape(len(y), GRID * GRID, 6)


def _detector(k: Any) -> Any:
    inputs, conv = k.Input((16, 16, 1)), k.layers.Conv2D
    x = conv(16, 3, padding="same", activation="relu")(inputs)
    x = conv(32, 3, 2, padding="same", activation="relu")(x)
    x = conv(48, 3, 2, padding="same", activation="relu")(x)
    x = conv(48, 3, padding="same", activation="relu")(x)
    x = conv(6, 1, activation="sigmoid")(x)
    return k.Model(inputs, k.layers.Reshape((GRID * GRID, 6))(x))


def _cell_loss() -> Any:
    import tensorflow as tf

    def loss(wanted: Any, found: Any) -> Any:
        """Scores of all cells, boxes of those with an object."""
        objects = tf.reduce_max(wanted[..., 4:], axis=-1, keepdims=True)
        scores = tf.reduce_mean(tf.square(wanted[..., 4:] - found[..., 4:]))
        return scores + 2 * tf.reduce_mean(objects * tf.square(wanted[..., :4] - found[..., :4]))

    return loss


def _binary(from_logits: bool) -> Any:
    return tf_keras().losses.BinaryCrossentropy(from_logits=from_logits)


MADE = {
    "segmentation": Made(_blobs, _unet, lambda: _binary(True), lambda y: y[..., None].astype(np.float32)),
    "multilabel": Made(_tags, _tagger, lambda: _binary(False)),
    "sequence": Made(_steps, _sequence, lambda: "sparse_categorical_crossentropy", lambda y: np.maximum(y, 0)),
    "regression": Made(_noisy, _denoiser, lambda: "mse"),
    "detection": Made(_squares, _detector, _cell_loss, cells, {"format": "cxcywh", "scale": 16}, epochs=40),
}


def make(task: str, folder: Path) -> tuple[Path, Path]:
    """Train the model of a task and save it beside its data, as `model.keras` and `data.npz`."""
    made, k = MADE[task], tf_keras()
    k.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = (
        made.samples(np.random.default_rng(seed), count) for seed, count in ((0, 600), (1, 200))
    )
    model = made.model(k)
    model.compile(k.optimizers.Adam(0.01), made.loss())
    model.fit(x, made.fed(y), epochs=made.epochs, batch_size=32, verbose=0)
    model.save(folder / "model.keras")
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return folder / "model.keras", folder / "data.npz"
