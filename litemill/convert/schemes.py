"""One function for each conversion scheme: what it asks of TensorFlow's converter.

Imports TensorFlow, so only the worker process imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.models.backend import tensorflow
from litemill.steps import Int8Options, Int16x8Options, Options

tf = tensorflow()
Samples = NDArray[np.float32]
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


def single_samples(samples: Samples) -> Iterator[list[Samples]]:
    """The calibration samples one by one, as the converter takes them."""
    for sample in samples:
        yield [np.ascontiguousarray(sample[np.newaxis], dtype=np.float32)]


CONVERSIONS: dict[str, Configure] = {
    "float32": float32,
    "float16": float16,
    "dynamic": dynamic,
    "int8": int8,
    "int16x8": int16x8,
}
"""How each scheme of `litemill.steps.SCHEMES` is converted."""
