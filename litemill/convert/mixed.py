"""int8 with the layers that lose most by it left in float: which ones is measured, not guessed.

Each layer is quantized alone, everything else in float (see litemill.convert.sensitivity). Then layers return to float
from the most sensitive on, until the outputs are good enough or the file is as large as it may be. Imports TensorFlow,
so only the worker process imports this.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.config.schemes import MixedInt8Options
from litemill.convert.selection import left_float
from litemill.convert.sensitivity import MEASURED_SAMPLES, noise_of, rank_layers, run
from litemill.errors import StepFailed
from litemill.evidence.variant import LayerSensitivity
from litemill.models.backend import tensorflow

log = logging.getLogger(__name__)
Samples = NDArray[np.float32]


class SelectiveQuantizer:
    """Quantizes a model to int8 but for the layers it is given, from one calibration.

    Args:
        converter: Set up for int8.
        samples: `[samples, …]` calibration samples.
    """

    def __init__(self, converter: Any, samples: Samples) -> None:
        self._lite = tensorflow().lite.experimental
        first = [np.ascontiguousarray(samples[:1])]
        self._debugger = self._lite.QuantizationDebugger(converter=converter, debug_dataset=lambda: iter([first]))

    def quantize(self, in_float: set[str]) -> bytes:
        """The model with the named layers in float."""
        self._debugger.options = self._lite.QuantizationDebugOptions(denylisted_nodes=sorted(in_float))
        data: bytes = self._debugger.get_nondebug_quantized_model()
        return data


def mix(
    converter: Any,
    reference: bytes,
    options: MixedInt8Options,
    samples: Samples,
    *,
    output: str = "",
    by_column: bool = False,
) -> tuple[bytes, list[LayerSensitivity]]:
    """Find the layers to leave in float, and convert so.

    Args:
        converter: A `tf.lite.TFLiteConverter` set up for int8.
        reference: The float conversion of the same model.
        options: How large the file may be and how good its outputs must be.
        samples: `[samples, …]` calibration samples.
        output: The one that is judged, of a model with several.
        by_column: Whether the worst column of the outputs has to be good enough, and not all of them together.

    Returns:
        The `.tflite`, and every layer's sensitivity, worst first.

    Raises:
        StepFailed: The quantizer finds no layer to quantize.
    """
    x = np.asarray(samples[:MEASURED_SAMPLES])
    expected = run(reference, x, output)

    def quality(data: bytes) -> float:
        return noise_of(expected, run(data, x, output), by_column=by_column)

    quantizer = SelectiveQuantizer(converter, samples)
    best = quantizer.quantize(set())
    layers = rank_layers(best, reference, x, output, by_column=by_column)
    if not layers:
        raise StepFailed("mixed-int8: no layer of this model can be quantized")
    limit = options.max_size * len(best)
    in_float = set(left_float(reference, [], options.exclude)) if options.exclude else set[str]()
    best = quantizer.quantize(in_float) if in_float else best
    found = quality(best)
    for layer in layers:
        if found >= options.sqnr_db:
            break
        if layer.name in in_float:
            continue
        tried = quantizer.quantize(in_float | {layer.name})
        if len(tried) > limit:
            log.info("%s stays int8: in float the file would have %d bytes", layer.name, len(tried))
            continue
        in_float.add(layer.name)
        best, found = tried, quality(tried)
    log.info("%d of %d layers in float, %.1f dB", len(in_float), len(layers), found)
    return best, [layer.model_copy(update={"kept_float": layer.name in in_float}) for layer in layers]
