"""Models that benchmarks measure: `python -m benchmarks.models NAME OUT [DATA.npz]` makes one, in a process of its own.

TensorFlow's threads and memory are then not beside what is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litemill.models.backend import make_deterministic, tensorflow, tf_keras


def guide(data: Path) -> Any:
    """The CNN of TensorFlow's guides on post-training quantization, pruning and clustering, trained for one epoch."""
    keras = tf_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    with np.load(data) as arrays:
        x, y = arrays["x_train"].astype(np.float32) / 255, arrays["y_train"]
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(x, y, batch_size=128, epochs=1, verbose=0)
    return model


def milliseconds() -> Any:
    """A float32 CNN that takes some milliseconds."""
    keras = tf_keras()
    layers = [keras.layers.Conv2D(32, 3, padding="same", activation="relu") for _ in range(6)]
    return keras.Sequential([keras.layers.Input((64, 64, 3)), *layers, keras.layers.GlobalAveragePooling2D()])


MAKE: dict[str, Callable[..., Any]] = {"guide": guide, "milliseconds": milliseconds}


def main() -> None:
    """Make one and write it: a `.tflite` by TensorFlow's converter, or what Keras saves."""
    name, out, *rest = sys.argv[1:]
    make_deterministic(0)
    model = MAKE[name](*map(Path, rest))
    if out.endswith(".tflite"):
        Path(out).write_bytes(tensorflow().lite.TFLiteConverter.from_keras_model(model).convert())
    else:
        model.save(out)


if __name__ == "__main__":
    main()
