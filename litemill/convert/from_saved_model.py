"""One function for each conversion scheme: from a SavedModel to the bytes of a `.tflite`.

Imports TensorFlow, so only the worker process imports this.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.config.schemes import (
    DynamicOptions,
    Int8Options,
    Int16x8Options,
    MixedInt8Options,
    Options,
    SelectiveOptions,
    WeightsOptions,
)
from litemill.convert.batch import SIGNATURE
from litemill.convert.findings import Converted
from litemill.convert.prepared import prepared
from litemill.convert.quantizer import cast_weights, quantize_dynamically, quantize_statically, quantize_weights
from litemill.convert.sensitivity import float_counterpart
from litemill.errors import StepFailed
from litemill.flatbuffer.graph import tensor_info
from litemill.flatbuffer.reader import ints, op_name, parse_model
from litemill.models.backend import tensorflow

tf = tensorflow()
Samples = NDArray[np.float32]
NO_16_BITS = "16x8-bit not yet supported for op"
"""What the quantizer says of an op that it cannot give 16 bits."""


def float32(saved_model: Path, options: Options, samples: Samples) -> Converted:
    """Plain conversion: nothing to set."""
    return Converted(converter_of(saved_model).convert(), [])


def float16(saved_model: Path, options: SelectiveOptions, samples: Samples) -> Converted:
    """Weights stored as float16."""
    if options.selects:
        return cast_weights(named_float(saved_model), options)
    converter = converter_of(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return Converted(converter.convert(), [])


def dynamic(saved_model: Path, options: DynamicOptions, samples: Samples) -> Converted:
    """Dynamic-range quantization: int8 weights, activations quantized at run time."""
    if options.by_quantizer:
        return quantize_dynamically(named_float(saved_model), options)
    converter = converter_of(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return Converted(converter.convert(), [])


def int8(saved_model: Path, options: Int8Options, samples: Samples) -> Converted:
    """Full-integer quantization (Jacob et al., 2018) with ranges from the calibration samples."""
    if options.by_quantizer:
        return quantize_statically(named_float(saved_model), 8, options, samples)
    return Converted(int8_converter(saved_model, options, samples).convert(), [])


def int16x8(saved_model: Path, options: Int16x8Options, samples: Samples) -> Converted:
    """int16 activations and int8 weights, all symmetric."""
    if options.by_quantizer:
        return quantize_statically(named_float(saved_model), 16, options, samples)
    only = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8

    def converted(ops: list[Any]) -> bytes:
        converter = calibrated_converter(saved_model, samples, options.io)
        converter.target_spec.supported_ops = ops
        data: bytes = converter.convert()
        return data

    try:
        return Converted(converted([only]), [])
    except RuntimeError as error:
        if NO_16_BITS not in str(error):
            raise
    # What has no 16-bit form stays float: harmless where integers are cast at an input, and refused elsewhere.
    return Converted(converted([only, tf.lite.OpsSet.TFLITE_BUILTINS]), [])


def mixed_int8(saved_model: Path, options: MixedInt8Options, samples: Samples, **judged: Any) -> Converted:
    """int8 but for the most sensitive layers (see litemill.convert.mixed)."""
    from litemill.convert.mixed import mix

    if samples.dtype.names:
        raise StepFailed("mixed-int8: its search takes models with one input", fix="Use int8 or int16x8")
    converter = int8_converter(saved_model, Int8Options(io="float32"), samples)
    return Converted(*mix(converter, float_model(saved_model), options, samples, **judged))


def weights_int8(saved_model: Path, options: WeightsOptions, samples: Samples) -> Converted:
    """Weights alone in int8: the float conversion, quantized by litert-quantizer."""
    return quantize_weights(converter_of(saved_model).convert(), 8, options)


def weights_int4(saved_model: Path, options: WeightsOptions, samples: Samples) -> Converted:
    """Weights alone in int4 where the op can have it: the float conversion, quantized by litert-quantizer."""
    return quantize_weights(converter_of(saved_model).convert(), 4, options)


def named_float(saved_model: Path) -> bytes:
    """The float conversion in the form that litert-quantizer calibrates, with the names of its tensors."""
    return prepared(converter_of(saved_model).convert())


def converter_of(saved_model: Path) -> Any:
    """A `tf.lite.TFLiteConverter` of a SavedModel, nothing set up."""
    return tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])


def calibrated_converter(saved_model: Path, samples: Samples, io: str) -> Any:
    """A converter that quantizes with ranges from the calibration samples, inputs and outputs of dtype `io`."""
    converter = converter_of(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: single_samples(samples)
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(io)
    if takes_indices(float_model(saved_model)):
        converter.inference_input_type = tf.float32  # 256 levels would not hold the indices
    return converter


def takes_indices(data: bytes) -> bool:
    """Whether a float model has an input that it only casts to integers: token ids, as Keras' Embedding takes them."""
    model = parse_model(data, where="float conversion")
    graph = model.subgraphs[0]
    readers: dict[int, set[str]] = {}
    for op in graph.operators or []:
        for index in ints(op.inputs):
            readers.setdefault(index, set()).add(op_name(model, op))
    floats = [index for index in ints(graph.inputs) if tensor_info(graph.tensors[index]).dtype == "float32"]
    return any(readers.get(index) == {"CAST"} for index in floats)


def int8_converter(saved_model: Path, options: Int8Options, samples: Samples) -> Any:
    """A converter set up for full-integer quantization."""
    converter = calibrated_converter(saved_model, samples, options.io)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    # The only switch there is: TensorFlow has no public name for per-tensor weights.
    converter._experimental_disable_per_channel = not options.per_channel
    return converter


def single_samples(samples: Samples) -> Iterator[list[Samples] | dict[str, Samples]]:
    """The calibration samples one by one, as the converter takes them; several inputs by their names."""
    for row in range(len(samples)):
        parts = named(samples[row : row + 1])
        one = {name: np.ascontiguousarray(part) for name, part in parts.items()}
        yield one if samples.dtype.names else [one[""]]


@lru_cache(maxsize=2)
def float_model(saved_model: Path) -> bytes:
    """The float conversion of a SavedModel without any rounding of its training; kept, as every recipe compares."""
    return float_counterpart(converter_of(saved_model).convert())
