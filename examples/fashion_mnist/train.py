"""Train the second example: a CNN of 69,000 parameters on Fashion-MNIST. About ten minutes on two cores.

    python examples/fashion_mnist/train.py [OUT.keras]

Needs `data.npz` beside it: `python examples/fashion_mnist/data.py` makes it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from litemill.config.run import DataSpec, Preprocessing
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.models.backend import make_deterministic, tensorflow, tf_keras
from litemill.models.store import write_keras

HERE = Path(__file__).parent
DATA = DataSpec(kind="npz", uri=str(HERE / "data.npz"), preprocessing=Preprocessing(scale=1 / 255))
SEED = 1
EPOCHS = 8
BATCH = 128


def build() -> Any:
    """A convolution, then depthwise-separable blocks (Howard et al., 2017), with BatchNorm and ReLU throughout."""
    keras = tf_keras()
    layers = keras.layers

    def block(x: Any, convolution: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolution(x)))

    image = layers.Input((28, 28, 1), name="image")
    x = block(image, layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False))
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2)):
        x = block(x, layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False))
        x = block(x, layers.Conv2D(filters, 1, use_bias=False))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="scores")(x), name="fashion_mnist")


def train(data: Splits, epochs: int = EPOCHS, seed: int = SEED) -> Any:
    """Train on the train split; returns the tf_keras model."""
    make_deterministic(seed)
    keras = tf_keras()
    model = build()
    steps = epochs * (len(data.train) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(1e-5, steps, warmup_target=3e-3, warmup_steps=steps // 10)
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=32
    )
    images, labels = np.asarray(data.train.x), np.asarray(data.train.y)
    samples = tensorflow().data.Dataset.from_tensor_slices((images, labels))
    batches = samples.shuffle(len(labels), seed=seed).batch(BATCH, drop_remainder=True)
    model.fit(batches, epochs=epochs, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=_tell)])
    return model


def _tell(epoch: int, metrics: dict[str, float]) -> None:
    logging.info("epoch %d: loss %.4f, accuracy %.4f", epoch + 1, metrics["loss"], metrics["accuracy"])


def main() -> None:
    """Train and save, and say how good it is on the test split."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "model.keras"
    with TemporaryDirectory() as folder:
        prepare_data(DATA, SEED, Path(folder) / "data")
        data = Splits.open(Path(folder) / "data")
        model = train(data)
        accuracy = model.evaluate(data.test.x, data.test.y, verbose=0)[1]
    write_keras(model, out)
    sys.stdout.write(f"{out}: {model.count_params()} parameters, test accuracy {accuracy:.4f}\n")


if __name__ == "__main__":
    main()
