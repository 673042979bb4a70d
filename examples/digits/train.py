"""Train the embedded default: a small CNN on scikit-learn's handwritten digits. Always gives the same file.

python examples/digits/train.py [OUT.keras]
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from litemill.config.run import DataSpec, Preprocessing
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.models.backend import make_deterministic, tf_keras
from litemill.models.store import write_keras

DATA = DataSpec(kind="digits", preprocessing=Preprocessing(scale=1 / 16))
SEED = 1
EPOCHS = 16


def build(filters: int = 16) -> Any:
    """Conv and depthwise blocks with BatchNorm and ReLU: the shapes that fuse into single TFLite ops."""
    keras = tf_keras()
    layers = keras.layers

    def block(x: Any, convolution: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolution(x)))

    image = layers.Input((8, 8, 1), name="image")
    x = block(image, layers.Conv2D(filters, 3, padding="same", use_bias=False))
    x = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
    x = block(x, layers.Conv2D(2 * filters, 1, use_bias=False))
    x = layers.MaxPooling2D()(x)
    x = block(x, layers.Conv2D(4 * filters, 3, padding="same", use_bias=False))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="scores")(x), name="digits")


def train(data: Splits, filters: int = 16, epochs: int = EPOCHS, seed: int = SEED) -> Any:
    """Train on the train split; returns the tf_keras model."""
    make_deterministic(seed)
    model = build(filters)
    model.compile(tf_keras().optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data.train.x, data.train.y, batch_size=64, epochs=epochs, verbose=0)
    return model


def main() -> None:
    """Train and save, and say how good it is on the test split."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "model.keras"
    with TemporaryDirectory() as folder:
        prepare_data(DATA, SEED, Path(folder) / "data")
        data = Splits.open(Path(folder) / "data")
        model = train(data)
        accuracy = model.evaluate(data.test.x, data.test.y, verbose=0)[1]
    write_keras(model, out)
    sys.stdout.write(f"{out}: {model.count_params()} parameters, test accuracy {accuracy:.4f}\n")


if __name__ == "__main__":
    main()
