"""Ten variants of one model as TensorFlow's guides make them: what a full sweep of Litemill is held against.

    python -m benchmarks.tutorial MODEL.keras DATA.npz OUT [--epochs 2]

One process; each recipe from the trained model, whatever another has computed already; `from_keras_model`; accuracy by
a loop over single test samples. The code is that of the guides on post-training quantization (dynamic range, float16,
integer, 16x8), pruning, clustering, quantization-aware training and collaborative optimization, with their batch size
and number of centroids. Nothing is made slower than it is there: data is kept in memory, no epoch is validated.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from ai_edge_litert.interpreter import Interpreter
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import (
    cluster_weights as cluster_preserving,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
    default_8bit_cluster_preserve_quantize_scheme as cluster_preserve,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
    default_8bit_prune_preserve_quantize_scheme as prune_preserve,
)

keras = tf.keras
BATCH = 128
RATE = 1e-3
SPARSITY, CENTROIDS = 0.5, 16
CALIBRATION = 100


class Guides:
    """The guides' ways, on one model and one data set.

    Args:
        source: The trained model's file.
        data: `x_train`, `y_train`, `x_test`, `y_test`; images of bytes.
        epochs: Of each training.
    """

    def __init__(self, source: Path, data: Path, epochs: int) -> None:
        self.source, self.epochs = source, epochs
        with np.load(data) as arrays:
            self.x_train, self.x_test = (arrays[name].astype(np.float32) / 255 for name in ("x_train", "x_test"))
            self.y_train, self.y_test = arrays["y_train"], arrays["y_test"]

    def recipes(self) -> dict[str, Callable[[], bytes]]:
        """How each variant is made."""
        return {
            "float32": lambda: self.convert(self.load()),
            "float16": lambda: self.convert(self.load(), self.as_float16),
            "dynamic": lambda: self.convert(self.load(), self.as_dynamic),
            "int8": lambda: self.convert(self.load(), self.as_int8),
            "int16x8": lambda: self.convert(self.load(), self.as_int16x8),
            "pruned-int8": lambda: self.convert(self.pruned(self.load()), self.as_int8),
            "clustered-int8": lambda: self.convert(self.clustered(self.load()), self.as_int8),
            "qat-int8": lambda: self.convert(self.qat(self.load()), self.as_int8),
            "pqat": lambda: self.convert(self.pqat(self.pruned(self.load())), self.as_int8),
            "pcqat": lambda: self.convert(self.pcqat(self.sparse_clustered(self.pruned(self.load()))), self.as_int8),
        }

    def load(self) -> Any:
        """The trained model."""
        return keras.models.load_model(str(self.source))

    def fit(self, model: Any, *callbacks: Any) -> Any:
        """Fine-tune a wrapped model."""
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss, metrics=["accuracy"])
        model.fit(
            self.x_train, self.y_train, batch_size=BATCH, epochs=self.epochs, callbacks=list(callbacks), verbose=0
        )
        return model

    def pruned(self, model: Any) -> Any:
        """Pruning with Keras."""
        steps = int(np.ceil(len(self.x_train) / BATCH)) * self.epochs
        schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, SPARSITY, begin_step=0, end_step=steps)
        wrapped = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
        trained = self.fit(wrapped, tfmot.sparsity.keras.UpdatePruningStep())
        return tfmot.sparsity.keras.strip_pruning(trained)

    def clustered(self, model: Any) -> Any:
        """Weight clustering with Keras."""
        wrapped = tfmot.clustering.keras.cluster_weights(model, **self._centroids())
        return tfmot.clustering.keras.strip_clustering(self.fit(wrapped))

    def sparse_clustered(self, model: Any) -> Any:
        """Sparsity preserving clustering."""
        wrapped = cluster_preserving(model, preserve_sparsity=True, **self._centroids())
        return tfmot.clustering.keras.strip_clustering(self.fit(wrapped))

    def qat(self, model: Any) -> Any:
        """Quantization-aware training with Keras."""
        return self.fit(tfmot.quantization.keras.quantize_model(model))

    def pqat(self, model: Any) -> Any:
        """Pruning preserving quantization-aware training."""
        return self._collaborative(model, prune_preserve.Default8BitPrunePreserveQuantizeScheme())

    def pcqat(self, model: Any) -> Any:
        """Sparsity and cluster preserving quantization-aware training."""
        return self._collaborative(model, cluster_preserve.Default8BitClusterPreserveQuantizeScheme(True))

    def _collaborative(self, model: Any, scheme: Any) -> Any:
        annotated = tfmot.quantization.keras.quantize_annotate_model(model)
        return self.fit(tfmot.quantization.keras.quantize_apply(annotated, scheme))

    @staticmethod
    def _centroids() -> dict[str, Any]:
        start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
        return {"number_of_clusters": CENTROIDS, "cluster_centroids_init": start}

    def convert(self, model: Any, *options: Callable[[Any], None]) -> bytes:
        """A model as `.tflite`."""
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for option in options:
            option(converter)
        content: bytes = converter.convert()
        return content

    def as_dynamic(self, converter: Any) -> None:
        """Post-training dynamic range quantization."""
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    def as_float16(self, converter: Any) -> None:
        """Post-training float16 quantization."""
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    def as_int8(self, converter: Any) -> None:
        """Post-training integer quantization."""
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = self._representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8

    def as_int16x8(self, converter: Any) -> None:
        """Post-training integer quantization with int16 activations."""
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = self._representative
        name = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name)]

    def _representative(self) -> Iterator[list[Any]]:
        for image in self.x_train[:CALIBRATION]:
            yield [image[np.newaxis]]

    def accuracy(self, content: bytes) -> float:
        """The guides' `evaluate_model`: one test image after the other."""
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        right = 0
        for image, label in zip(self.x_test, self.y_test, strict=True):
            sample = image[np.newaxis]
            if source["dtype"] != np.float32:
                scale, zero_point = source["quantization"]
                sample = np.round(sample / scale + zero_point).astype(source["dtype"])
            interpreter.set_tensor(source["index"], sample)
            interpreter.invoke()
            right += int(np.argmax(interpreter.get_tensor(sink["index"])[0]) == label)
        return right / len(self.y_test)


def main() -> int:
    """Make every variant, and write what each took, its size and its accuracy to `OUT/results.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=2, help="of each training")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    guides = Guides(options.model, options.data, options.epochs)
    rows = []
    for recipe, make in guides.recipes().items():
        began = time.perf_counter()
        content = make()
        made = time.perf_counter()
        (options.out / f"{recipe}.tflite").write_bytes(content)
        accuracy = guides.accuracy(content)
        rows.append(
            {
                "recipe": recipe,
                "bytes": len(content),
                "accuracy": accuracy,
                "make_s": made - began,
                "evaluate_s": time.perf_counter() - made,
            }
        )
        sys.stdout.write(f"{json.dumps(rows[-1])}\n")
    (options.out / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
