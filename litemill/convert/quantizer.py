"""litert-quantizer at work: what each way to round weights is in its words, and what of it is right.

Tried with litert-quantizer 0.11 and LiteRT 2.3, on dense layers and convolutions, each against float32: `min_max`,
`octav` and `mse` are right with XNNPACK and with the reference kernels, in int8 and int4. GPTQ is right for dense
layers alone; where the ops around them are quantized too, it gives noise. One scale for all channels of a depthwise
convolution gives NaN in dynamic range. Blocks of int4 are right with XNNPACK; the reference kernel of dense layers
takes no notice of them. Weights alone in blocks stay float without a word. Rotations need an op that only LiteRT with
XNNPACK has, or cost more bytes than they save.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.config.schemes import (
    BLOCKS,
    DynamicOptions,
    Int8Options,
    Int16x8Options,
    SelectiveOptions,
    WeightsOptions,
)
from litemill.convert.findings import Converted
from litemill.convert.selection import left_float
from litemill.errors import ConfigError, StepFailed, first_line
from litemill.flatbuffer.graph import report
from litemill.flatbuffer.reader import parse_model, text

Samples = NDArray[np.float32]
EVERYTHING = ".*"
FLOAT_IO = "float32"
ALGORITHMS = {"min_max": "MIN_MAX_UNIFORM_QUANT", "octav": "OCTAV", "mse": "MSE"}
"""What litert-quantizer calls the ways to find a weight's scale."""
DENSE, FOUR_BITS = ("FULLY_CONNECTED",), ("FULLY_CONNECTED", "CONV_2D")
DEPTHWISE = "DEPTHWISE_CONV_2D"
UNCALIBRATED = "recipe_file needs calibration samples, which this scheme has none of"
CALIBRATE = "Give it to int8 or int16x8"


def cast_weights(data: bytes, options: SelectiveOptions) -> Converted:
    """Store the weights of a float `.tflite` as float16."""
    from litert_quantizer.quantizer import AlgorithmName

    wanted = _recipe()
    wanted.add_weight_only_config(EVERYTHING, _everything(), num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    return _quantized(data, wanted, options, "float16")


def quantize_dynamically(data: bytes, options: DynamicOptions) -> Converted:
    """Give a float `.tflite` int8 or int4 weights that its ops compute with.

    Raises:
        StepFailed: No op can have such weights, or LiteRT would compute nonsense with them.
    """
    wanted = _recipe()
    plain = options.model_copy(update={"granularity": "channel"}) if options.blocks else options
    wanted.add_dynamic_config(EVERYTHING, _everything(), 8, **_weights(plain))
    for op in _ops(*(DENSE if options.blocks else FOUR_BITS)) if options.bits == 4 else []:
        wanted.add_dynamic_config(EVERYTHING, op, 4, **_weights(options))
    found = _quantized(data, wanted, options, f"int{options.bits}")
    if options.granularity == "tensor":
        _check_depthwise(found.data)
    return found


def _check_depthwise(data: bytes) -> None:
    """Refuse what LiteRT's kernel answers with NaN: it reads a scale for each channel of a depthwise convolution."""
    if any(weight.op == DEPTHWISE and weight.dtype == "int8" for weight in report(parse_model(data, where="")).weights):
        what = f"dynamic: LiteRT's {DEPTHWISE} gives nonsense with one scale for all channels (granularity: tensor)"
        raise StepFailed(what, fix=f"Leave granularity out, or add exclude: [{DEPTHWISE}]")


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
    granularity = QuantGranularity.CHANNELWISE if per_channel else QuantGranularity.TENSORWISE

    def add(op: Any, algorithm: str) -> None:
        wanted.add_static_config(
            EVERYTHING,
            op,
            activation_num_bits=bits,
            weight_num_bits=8,
            weight_granularity=granularity,
            algorithm_key=AlgorithmName[ALGORITHMS[algorithm]],
        )

    add(_everything(), options.algorithm)
    if options.io == FLOAT_IO:
        for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
            wanted.add_quantization_config(EVERYTHING, end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return _quantized(data, wanted, options, "int8", samples)


def _ops(*names: str) -> list[Any]:
    """Ops as litert-quantizer calls them."""
    from litert_quantizer.qtyping import TFLOperationName

    return [TFLOperationName(name) for name in names]


def check_recipe(recipe: str, *, calibrated: bool, where: str) -> None:
    """Refuse the rules of a recipe file that cannot be followed.

    Args:
        recipe: The rules, as JSON.
        calibrated: Whether the scheme has calibration samples.
        where: Names the recipe in errors.

    Raises:
        ConfigError: litert-quantizer does not take them, or they need samples.
    """
    try:
        needs = brought(recipe).need_calibration()
    except StepFailed as error:
        raise ConfigError(str(error), where=where) from None
    if needs and not calibrated:
        raise ConfigError(UNCALIBRATED, where=where, fix=CALIBRATE)


def brought(recipe: str) -> Any:
    """The rules of a recipe file as litert-quantizer holds them.

    Raises:
        StepFailed: It does not know an operation, an algorithm or a configuration of theirs.
    """
    wanted = _recipe()
    rules = [{"op_config": {}, **rule} for rule in json.loads(recipe)]
    try:
        wanted.load_quantization_recipe(rules)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StepFailed(f"recipe_file: litert-quantizer refuses it: {first_line(error)}") from error
    return wanted


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
    granularity |= {name: QuantGranularity[f"BLOCKWISE_{size}"] for name, size in BLOCKS.items()}
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

    chosen = options.include or options.exclude
    for name in left_float(data, options.include, options.exclude) if chosen else []:
        # An op's scope is the names of its outputs with a semicolon after each.
        scope = f"(^|;){re.escape(name)};"
        wanted.add_quantization_config(scope, _everything(), algorithm_key=AlgorithmName.NO_QUANTIZE)
    if options.recipe:
        wanted = brought(options.recipe)
        if samples is None and wanted.need_calibration():
            raise StepFailed(UNCALIBRATED, fix=CALIBRATE)
    elif options.selects and samples is not None and options.model_dump().get("io") != FLOAT_IO:
        _quantize_ends(wanted, options)
    ranges = None if samples is None else _calibrate(data, wanted, samples)
    recipe = wanted.get_quantization_recipe()
    made = _finish(Quantizer(data, recipe), ranges)
    return Converted(made if options.recipe else _weights_in(made, dtype), [], json.loads(json.dumps(recipe)))


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
    """A range that holds both; of what GPTQ needs besides, the mean over the samples."""
    if not known or not new:
        return known or new
    found = {"min": np.minimum(known["min"], new["min"]), "max": np.maximum(known["max"], new["max"])}
    # The op that makes a tensor tells its range alone; a dense layer that reads it also what GPTQ needs.
    told = [part for part in (known, new) if "hessian" in part]
    if told:
        samples = sum(part["num_samples"] for part in told)
        hessian = sum(part["hessian"] * part["num_samples"] for part in told) / max(samples, 1)
        found |= {"hessian": hessian, "num_samples": samples}
    return found


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
