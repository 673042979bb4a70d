"""One function for each conversion scheme: from a SavedModel to the bytes of a `.tflite`.

Imports TensorFlow, so only the worker process imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.config.steps import Float32Options, Int8Options, Int16x8Options, MixedInt8Options, Options
from litemill.convert.batch import SIGNATURE
from litemill.convert.findings import Conversion, Converted
from litemill.convert.from_tflite import quantize_weights
from litemill.convert.sensitivity import float_counterpart
from litemill.errors import StepFailed
from litemill.models.backend import tensorflow

tf = tensorflow()
Samples = NDArray[np.float32]
NO_SAMPLES = np.empty(0, np.float32)
Configure = Callable[[Any, Any, Samples], None]
"""Set up a `tf.lite.TFLiteConverter` from the scheme's options and the calibration samples."""


def float32(converter: Any, options: Options, samples: Samples) -> None:
    """Plain conversion: nothing to set."""


def float16(converter: Any, options: Options, samples: Samples) -> None:
    """Weights stored as float16."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def dynamic(converter: Any, options: Options, samples: Samples) -> None:
    """Dynamic-range quantization: int8 weights, activations quantized at run time."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def int8(converter: Any, options: Int8Options, samples: Samples) -> None:
    """Full-integer quantization (Jacob et al., 2018) with ranges from the calibration samples."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: single_samples(samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(options.io)
    # The only switch there is: TensorFlow has no public name for per-tensor weights.
    converter._experimental_disable_per_channel = not options.per_channel


def int16x8(converter: Any, options: Int16x8Options, samples: Samples) -> None:
    """int16 activations and int8 weights, all symmetric."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: single_samples(samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(options.io)


def single_samples(samples: Samples) -> Iterator[list[Samples] | dict[str, Samples]]:
    """The calibration samples one by one, as the converter takes them; several inputs by their names."""
    for row in range(len(samples)):
        parts = named(samples[row : row + 1])
        one = {name: np.ascontiguousarray(part, dtype=np.float32) for name, part in parts.items()}
        yield one if samples.dtype.names else [one[""]]


def configured(configure: Configure, saved_model: Path, options: Options, samples: Samples) -> Any:
    """A `tf.lite.TFLiteConverter` of a SavedModel, set up for a scheme."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])
    configure(converter, options, samples)
    return converter


def _convert(configure: Configure, saved_model: Path, options: Options, samples: Samples) -> Converted:
    return Converted(configured(configure, saved_model, options, samples).convert(), [])


def mixed_int8(saved_model: Path, options: MixedInt8Options, samples: Samples) -> Converted:
    """int8 but for the most sensitive layers (see litemill.convert.mixed)."""
    from litemill.convert.mixed import mix

    if samples.dtype.names:
        raise StepFailed("mixed-int8: its search takes models with one input", fix="Use int8 or int16x8")
    converter = configured(int8, saved_model, Int8Options(io="float32"), samples)
    return Converted(*mix(converter, float_model(saved_model), options, samples))


@lru_cache(maxsize=1)
def float_model(saved_model: Path) -> bytes:
    """The float conversion of a SavedModel without any rounding of its training; kept, as every recipe compares."""
    return float_counterpart(configured(float32, saved_model, Float32Options(), NO_SAMPLES).convert())


def weights_only(bits: int, saved_model: Path, options: Options, samples: Samples) -> Converted:
    """Quantize the weights of the float conversion with litert-quantizer.

    Raises:
        StepFailed: No op of the model can have such weights.
    """
    source = configured(float32, saved_model, options, samples).convert()
    return Converted(quantize_weights(source, bits), [])


CONVERSIONS: dict[str, Conversion] = {
    "float32": partial(_convert, float32),
    "float16": partial(_convert, float16),
    "dynamic": partial(_convert, dynamic),
    "int8": partial(_convert, int8),
    "int16x8": partial(_convert, int16x8),
    "mixed-int8": mixed_int8,
    "weights-int8": partial(weights_only, 8),
    "weights-int4": partial(weights_only, 4),
}
"""How each scheme of `litemill.config.steps.SCHEMES` is converted."""
