"""One function for each conversion scheme, from a float `.tflite`: litert-quantizer, and no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from litemill.config.schemes import (
    DynamicOptions,
    Int8Options,
    Int16x8Options,
    Options,
    SelectiveOptions,
    WeightsOptions,
)
from litemill.convert.findings import Converted
from litemill.convert.prepared import prepared
from litemill.convert.quantizer import (
    Samples,
    cast_weights,
    quantize_dynamically,
    quantize_statically,
    quantize_weights,
)


def float32(source: Path, options: Options, samples: Samples) -> Converted:
    """The file itself."""
    return Converted(source.read_bytes(), [])


def float16(source: Path, options: SelectiveOptions, samples: Samples) -> Converted:
    """Weights stored as float16."""
    return cast_weights(prepared(source.read_bytes()), options)


def dynamic(source: Path, options: DynamicOptions, samples: Samples) -> Converted:
    """Dynamic-range quantization: int8 weights, activations quantized at run time."""
    return quantize_dynamically(prepared(source.read_bytes()), options)


def weights_int8(source: Path, options: WeightsOptions, samples: Samples) -> Converted:
    """Weights alone in int8."""
    return quantize_weights(prepared(source.read_bytes()), 8, options)


def weights_int4(source: Path, options: WeightsOptions, samples: Samples) -> Converted:
    """Weights alone in int4 where the op can have it."""
    return quantize_weights(prepared(source.read_bytes()), 4, options)


def int8(source: Path, options: Int8Options, samples: Samples) -> Converted:
    """Full-integer quantization with ranges from the calibration samples."""
    return quantize_statically(prepared(source.read_bytes()), 8, options, samples)


def int16x8(source: Path, options: Int16x8Options, samples: Samples) -> Converted:
    """int16 activations and int8 weights."""
    return quantize_statically(prepared(source.read_bytes()), 16, options, samples)
