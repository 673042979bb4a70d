"""int8 with the layers that lose most by it left in float: which ones is measured, not guessed.

Each layer is quantized alone, everything else in float, and the change of the model's outputs on the calibration
samples is taken as its sensitivity (Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 4.4).
Then layers return to float from the most sensitive on, until the outputs are good enough or the file is as large as
it may be. Imports TensorFlow, so only the worker process imports this.
"""

from __future__ import annotations

import csv
import io
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import StepFailed
from litemill.evaluate.runner import Runner
from litemill.evidence import LayerSensitivity
from litemill.models.backend import tensorflow
from litemill.steps import MixedInt8Options

log = logging.getLogger(__name__)
Samples = NDArray[np.float32]

MEASURED_SAMPLES = 64
PERFECT_DB = 120.0
"""What a change too small for float32 counts as."""


class SelectiveQuantizer:
    """Quantizes a model to int8 but for the layers it is told, from one calibration.

    Args:
        converter: Set up for int8.
        samples: `[samples, …]` calibration samples.
    """

    def __init__(self, converter: Any, samples: Samples) -> None:
        self._lite = tensorflow().lite.experimental
        first = [samples[:1].astype(np.float32)]
        self._debugger = self._lite.QuantizationDebugger(converter=converter, debug_dataset=lambda: iter([first]))
        self._debugger.run()
        told = io.StringIO()
        self._debugger.layer_statistics_dump(told)
        rows = csv.DictReader(io.StringIO(told.getvalue()))
        self.layers = {row["tensor_name"]: row["op_name"] for row in rows}

    def quantize(self, in_float: set[str]) -> bytes:
        """The model with the named layers in float."""
        self._debugger.options = self._lite.QuantizationDebugOptions(denylisted_nodes=sorted(in_float))
        data: bytes = self._debugger.get_nondebug_quantized_model()
        return data


def mix(
    converter: Any, reference: bytes, options: MixedInt8Options, samples: Samples
) -> tuple[bytes, list[LayerSensitivity]]:
    """Find the layers to leave in float, and convert so.

    Args:
        converter: A `tf.lite.TFLiteConverter` set up for int8.
        reference: The float conversion of the same model.
        options: How large the file may be and how good its outputs must be.
        samples: `[samples, …]` calibration samples.

    Returns:
        The `.tflite`, and every layer's sensitivity, worst first.

    Raises:
        StepFailed: The quantizer finds no layer to quantize.
    """
    x = np.asarray(samples[:MEASURED_SAMPLES], np.float32)
    expected = _outputs(reference, x)
    quantizer = SelectiveQuantizer(converter, samples)
    if not quantizer.layers:
        raise StepFailed("mixed-int8: no layer of this model can be quantized")
    layers = rank(quantizer, expected, x)
    best = quantizer.quantize(set())
    limit, found = options.max_size * len(best), sqnr_db(expected, _outputs(best, x))
    in_float: set[str] = set()
    for layer in layers:
        if found >= options.sqnr_db:
            break
        tried = quantizer.quantize(in_float | {layer.name})
        if len(tried) > limit:
            log.info("%s stays int8: in float the file would have %d bytes", layer.name, len(tried))
            continue
        in_float.add(layer.name)
        best, found = tried, sqnr_db(expected, _outputs(tried, x))
    log.info("%d of %d layers in float, %.1f dB", len(in_float), len(layers), found)
    return best, [layer.model_copy(update={"kept_float": layer.name in in_float}) for layer in layers]


def rank(quantizer: SelectiveQuantizer, expected: Samples, x: Samples) -> list[LayerSensitivity]:
    """Quantize each layer alone and rank the layers by what that does to the outputs, worst first."""
    every = set(quantizer.layers)
    found = [
        LayerSensitivity(name=name, op=op, sqnr_db=sqnr_db(expected, _outputs(quantizer.quantize(every - {name}), x)))
        for name, op in quantizer.layers.items()
    ]
    return sorted(found, key=lambda layer: layer.sqnr_db)


def sqnr_db(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Signal to quantization noise: variance of the outputs over the mean square of their change, in dB."""
    noise = float(np.mean(np.square(found.astype(np.float64) - expected)))
    signal = float(np.var(expected.astype(np.float64)))
    if noise == 0 or signal == 0:
        return PERFECT_DB if noise == 0 else -PERFECT_DB
    return float(np.clip(10 * np.log10(signal / noise), -PERFECT_DB, PERFECT_DB))


def _outputs(data: bytes, x: Samples) -> Samples:
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        return Runner(path).run(x)
