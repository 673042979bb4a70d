"""One function for each conversion scheme, from a float `.tflite`: litert-quantizer, and no TensorFlow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.config.schemes import Int8Options, Int16x8Options, Options, SelectiveOptions, WeightsOptions
from litemill.convert.batch import SIGNATURE
from litemill.convert.findings import Converted
from litemill.convert.selection import left_float
from litemill.errors import StepFailed
from litemill.flatbuffer.graph import report
from litemill.flatbuffer.reader import ints, parse_model, text

Samples = NDArray[np.float32]
EVERYTHING = ".*"
FLOAT_IO = "float32"
ALGORITHMS = {"min_max": "MIN_MAX_UNIFORM_QUANT", "octav": "OCTAV", "mse": "MSE"}
"""What litert-quantizer calls the ways to find a weight's scale."""


def float32(source: Path, options: Options, samples: Samples) -> Converted:
    """The file itself."""
    return Converted(source.read_bytes(), [])


def float16(source: Path, options: SelectiveOptions, samples: Samples) -> Converted:
    """Weights stored as float16."""
    return cast_weights(prepared(source.read_bytes()), options)


def dynamic(source: Path, options: WeightsOptions, samples: Samples) -> Converted:
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


def cast_weights(data: bytes, options: SelectiveOptions) -> Converted:
    """Store the weights of a float `.tflite` as float16."""
    from litert_quantizer.quantizer import AlgorithmName

    wanted = _recipe()
    wanted.add_weight_only_config(EVERYTHING, _everything(), num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    return _quantized(data, wanted, options, "float16")


def quantize_dynamically(data: bytes, options: WeightsOptions) -> Converted:
    """Give a float `.tflite` int8 weights that its ops compute with."""
    wanted = _recipe()
    wanted.add_dynamic_config(EVERYTHING, _everything(), 8, **_weights(options))
    return _quantized(data, wanted, options, "int8")


def quantize_weights(data: bytes, bits: int, options: WeightsOptions) -> Converted:
    """Quantize the weights of a float `.tflite`, to be unpacked at load.

    Raises:
        StepFailed: No op of the model can have such weights.
    """
    wanted = _recipe()
    wanted.add_weight_only_config(EVERYTHING, _everything(), bits, **_weights(options))
    return _quantized(data, wanted, options, f"int{bits}")


def quantize_statically(data: bytes, bits: int, options: Int8Options | Int16x8Options, samples: Samples) -> Converted:
    """Quantize weights to int8 and activations to `bits`, ranges from the smallest and largest value seen."""
    from litert_quantizer.qtyping import QuantGranularity, TFLOperationName
    from litert_quantizer.quantizer import AlgorithmName

    wanted, per_channel = _recipe(), getattr(options, "per_channel", True)
    wanted.add_static_config(
        EVERYTHING,
        _everything(),
        activation_num_bits=bits,
        weight_num_bits=8,
        weight_granularity=QuantGranularity.CHANNELWISE if per_channel else QuantGranularity.TENSORWISE,
    )
    if options.io == FLOAT_IO:
        for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
            wanted.add_quantization_config(EVERYTHING, end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return _quantized(data, wanted, options, "int8", samples)


def _recipe() -> Any:
    from litert_quantizer.recipe_manager import RecipeManager

    return RecipeManager()


def _everything() -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    return TFLOperationName.ALL_SUPPORTED


def _weights(options: WeightsOptions) -> dict[str, Any]:
    """How weights are rounded, as litert-quantizer takes it."""
    from litert_quantizer.qtyping import QuantGranularity
    from litert_quantizer.quantizer import AlgorithmName

    granularity = {"channel": QuantGranularity.CHANNELWISE, "tensor": QuantGranularity.TENSORWISE}
    return {
        "granularity": granularity[options.granularity],
        "algorithm_key": AlgorithmName[ALGORITHMS[options.algorithm]],
    }


def _quantize_ends(wanted: Any, options: SelectiveOptions) -> None:
    """Keep inputs and outputs quantized where the ops beside them stay float: the caller asked for their dtype."""
    from litert_quantizer.qtyping import TFLOperationName

    bits = 16 if isinstance(options, Int16x8Options) else 8
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        # Another pattern for everything: rules go by the order in which their patterns came, and the last counts.
        wanted.add_static_config(f"^{EVERYTHING}", end, activation_num_bits=bits, weight_num_bits=8)


def _quantized(
    data: bytes, wanted: Any, options: SelectiveOptions, dtype: str, samples: Samples | None = None
) -> Converted:
    """Quantize as the recipe says, but for the ops that the options leave in float."""
    from litert_quantizer.quantizer import AlgorithmName, Quantizer

    for name in left_float(data, options.include, options.exclude) if options.selects else []:
        # An op's scope is the names of its outputs with a semicolon after each.
        scope = f"(^|;){re.escape(name)};"
        wanted.add_quantization_config(scope, _everything(), algorithm_key=AlgorithmName.NO_QUANTIZE)
    if options.selects and samples is not None and options.model_dump().get("io") != FLOAT_IO:
        _quantize_ends(wanted, options)
    ranges = None if samples is None else _calibrate(data, wanted, samples)
    recipe = wanted.get_quantization_recipe()
    return Converted(_weights_in(_finish(Quantizer(data, recipe), ranges), dtype), [], json.loads(json.dumps(recipe)))


def _calibrate(data: bytes, wanted: Any, samples: Samples) -> Any:
    """The range of every tensor over the samples.

    The library's own default is a moving average, in which all but the last samples fade: it clips an input of
    [0, 1] below 1 where the last samples are dark.
    """
    from litert_quantizer.calibrator import Calibrator

    (signature,) = parse_model(data, where="the source").signatureDefs
    only = text(signature.inputs[0].name)
    rows = [
        {name or only: np.ascontiguousarray(part) for name, part in named(samples[row : row + 1]).items()}
        for row in range(len(samples))
    ]
    calibrator = Calibrator(data, num_threads=1, qsv_update_func=_widened)
    calibrator.calibrate({text(signature.signatureKey): rows}, wanted)
    return calibrator.get_model_qsvs()


def _widened(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A range that holds both."""
    if not known or not new:
        return known or new
    return {"min": np.minimum(known["min"], new["min"]), "max": np.maximum(known["max"], new["max"])}


def _finish(work: Any, ranges: Any = None) -> bytes:
    return bytes(work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _weights_in(data: bytes, dtype: str) -> bytes:
    """A converted file, if it holds a weight of that type: litert-quantizer leaves silently what it does not know.

    Raises:
        StepFailed: It holds none.
    """
    if not any(weight.dtype == dtype for weight in report(parse_model(data, where="quantized")).weights):
        raise StepFailed(f"no op of this model can have {dtype} weights")
    return data


def prepared(data: bytes) -> bytes:
    """A `.tflite` in the form that litert-quantizer takes: unique tensor names, its own buffer for each constant, and
    one signature.

    A slimmed file has none of that: names are dropped and equal buffers merged.

    Raises:
        InputError: `data` is no `.tflite` or damaged.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    model = parse_model(data, where="the source")
    names: set[str] = set()
    buffers: set[int] = set()
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            name = text(tensor.name)
            if not name or name in names:
                name = _free(f"{name or 'tensor'}_{index}", names)
                tensor.name = name.encode()
            names.add(name)
            if tensor.buffer in buffers and model.buffers[tensor.buffer].data is not None:
                model.buffers.append(schema.BufferT(data=model.buffers[tensor.buffer].data))
                tensor.buffer = len(model.buffers) - 1
            buffers.add(tensor.buffer)
    own = [signature for signature in model.signatureDefs or [] if signature.subgraphIndex == 0]
    model.signatureDefs = own[:1] or [_signature(model.subgraphs[0], schema)]
    return bytes(convert_object_to_bytearray(model))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _signature(graph: Any, schema: Any) -> Any:
    """The signature of the main graph, inputs and outputs under the names of their tensors."""

    def named(indices: Any) -> list[Any]:
        return [schema.TensorMapT(graph.tensors[index].name, index) for index in ints(indices)]

    return schema.SignatureDefT(named(graph.inputs), named(graph.outputs), SIGNATURE, 0)
