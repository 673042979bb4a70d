"""One function for each conversion scheme, from a float `.tflite`: litert-quantizer, and no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.config.schemes import Int8Options, Int16x8Options, Options
from litemill.convert.batch import SIGNATURE
from litemill.convert.findings import Converted
from litemill.errors import StepFailed
from litemill.flatbuffer.graph import report
from litemill.flatbuffer.reader import ints, parse_model, text

Samples = NDArray[np.float32]
EVERYTHING = ".*"
FLOAT_IO = "float32"


def float32(source: Path, options: Options, samples: Samples) -> Converted:
    """The file itself."""
    return Converted(source.read_bytes(), [])


def float16(source: Path, options: Options, samples: Samples) -> Converted:
    """Weights stored as float16."""
    from litert_quantizer import quantizer
    from litert_quantizer.qtyping import TFLOperationName

    work = quantizer.Quantizer(prepared(source.read_bytes()))
    work.add_weight_only_config(
        EVERYTHING, TFLOperationName.ALL_SUPPORTED, num_bits=16, algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING
    )
    return Converted(_weights_in(_finish(work), "float16"), [])


def dynamic(source: Path, options: Options, samples: Samples) -> Converted:
    """Dynamic-range quantization: int8 weights, activations quantized at run time."""
    from litert_quantizer import quantizer, recipe

    work = quantizer.Quantizer(prepared(source.read_bytes()), recipe.dynamic_wi8_afp32())
    return Converted(_weights_in(_finish(work), "int8"), [])


def weights_int8(source: Path, options: Options, samples: Samples) -> Converted:
    """Weights alone in int8."""
    return Converted(quantize_weights(prepared(source.read_bytes()), 8), [])


def weights_int4(source: Path, options: Options, samples: Samples) -> Converted:
    """Weights alone in int4 where the op can have it."""
    return Converted(quantize_weights(prepared(source.read_bytes()), 4), [])


def quantize_weights(data: bytes, bits: int) -> bytes:
    """Quantize the weights of a float `.tflite`, to be unpacked at load.

    Raises:
        StepFailed: No op of the model can have such weights.
    """
    from litert_quantizer import quantizer, recipe

    wanted = {8: recipe.weight_only_wi8_afp32, 4: recipe.weight_only_wi4_afp32}[bits]()
    return _weights_in(_finish(quantizer.Quantizer(data, wanted)), f"int{bits}")


def int8(source: Path, options: Int8Options, samples: Samples) -> Converted:
    """Full-integer quantization with ranges from the calibration samples."""
    return _static(source, 8, options.io, samples, per_channel=options.per_channel)


def int16x8(source: Path, options: Int16x8Options, samples: Samples) -> Converted:
    """int16 activations and int8 weights."""
    return _static(source, 16, options.io, samples)


def _static(source: Path, bits: int, io: str, samples: Samples, *, per_channel: bool = True) -> Converted:
    """Quantize weights to int8 and activations to `bits`, ranges from the smallest and largest value seen."""
    from litert_quantizer import quantizer, recipe_manager
    from litert_quantizer.qtyping import QuantGranularity, TFLOperationName

    data = prepared(source.read_bytes())
    wanted = recipe_manager.RecipeManager()
    wanted.add_static_config(
        EVERYTHING,
        TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=bits,
        weight_num_bits=8,
        weight_granularity=QuantGranularity.CHANNELWISE if per_channel else QuantGranularity.TENSORWISE,
    )
    if io == FLOAT_IO:
        for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
            wanted.add_quantization_config(EVERYTHING, end, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
    ranges = _calibrate(data, wanted, samples)
    work = quantizer.Quantizer(data, wanted.get_quantization_recipe())
    return Converted(_weights_in(_finish(work, ranges), "int8"), [])


def _calibrate(data: bytes, wanted: Any, samples: Samples) -> Any:
    """The range of every tensor over the samples.

    The library's own default is a moving average, in which all but the last samples fade: it clips an input of
    [0, 1] below 1 where the last samples are dark.
    """
    from litert_quantizer.calibrator import Calibrator

    (signature,) = parse_model(data, where="the source").signatureDefs
    name = text(signature.inputs[0].name)
    rows = [{name: np.ascontiguousarray(sample[np.newaxis], dtype=np.float32)} for sample in samples]
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
