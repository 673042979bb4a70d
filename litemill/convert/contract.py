"""Checks of what came out of a conversion against what was asked, and against the samples that calibrated it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.config.schemes import SelectiveOptions
from litemill.config.steps import Step
from litemill.convert.calibration import check_calibration, value_range
from litemill.errors import StepFailed
from litemill.evidence.base import TensorInfo
from litemill.flatbuffer.graph import float_tensors, floats, tensor_info
from litemill.flatbuffer.reader import ints, op_name, read_model, text

FLOAT = "float32"
FLOATS = ("float16", "float32", "float64")
FLOAT_INPUTS: Mapping[str, str] = {}
"""dtypes of inputs that are all float32."""
WIDEST = 4.0
"""Times the data's range that an input may cover; twice is what a symmetric range takes for data above zero."""


def check_inputs(
    samples: NDArray[Any],
    shapes: dict[str, list[int]],
    *,
    where: str,
    fewest: int,
    dtypes: Mapping[str, str] = FLOAT_INPUTS,
) -> None:
    """Check the calibration samples of every input (see `check_calibration`).

    Args:
        samples: `[samples, …]`; of several inputs a structured array.
        shapes: Of the model's inputs by name, with the batch dimension; that of the only one under the empty name.
        where: Names the samples in errors.
        fewest: How many samples there must be.
        dtypes: Of the model's inputs, by the same names; float32 by default.

    Raises:
        StepFailed: The model has other inputs, or see `check_calibration`.
    """
    parts = named(samples)
    if set(parts) != set(shapes):
        message, wanted = (", ".join(name or "one without a name" for name in names) for names in (parts, shapes))
        raise StepFailed(f"the calibration samples have the inputs {message}, the model {wanted}", where=where)
    for name, part in parts.items():
        place, dtype = f"{where}[{name}]" if name else where, dtypes.get(name, FLOAT)
        check_calibration(part, shapes[name], where=place, dtype=dtype, fewest=fewest)


def check_variant(
    path: Path, step: Step, samples: NDArray[Any] | None, *, dtypes: Mapping[str, str] = FLOAT_INPUTS
) -> None:
    """Check what came out of a conversion against what was asked.

    Args:
        path: The `.tflite`.
        step: The conversion scheme with its options.
        samples: The calibration samples of a calibrated scheme.
        dtypes: Of the source's inputs by name; that of the only one under the empty name. Float ones are quantized,
            all others stay as they are: pixels, indices and flags have no scale.

    Raises:
        StepFailed: An input or output of another dtype than asked, a scale that is not positive, a float tensor in a
            model that should be integer only, or an input range that does not fit the calibration data.
    """
    model = read_model(path)
    io = getattr(step.parsed(), "io", "float32")
    main = model.subgraphs[0]
    inputs = {"": tensor_info(main.tensors[main.inputs[0]])} if len(main.inputs) == 1 else _named_inputs(model)
    outputs = [tensor_info(main.tensors[index]) for index in ints(main.outputs)]
    cast = _cast_at_the_ends(model)
    asked = [(info, io) for info in outputs]
    for name, info in inputs.items():
        own = dtypes.get(name, FLOAT)
        kept = own not in FLOATS or any(info.name == text(main.tensors[index].name) for index in cast)
        asked.append((info, own if kept else io))
    for info, wanted in asked:
        if info.dtype != wanted:
            raise StepFailed(f"{step.name}: tensor {info.name!r} is {info.dtype}, {wanted} was asked", where=str(path))
    _check_scales(model, step, path)
    options = step.parsed()
    if io not in FLOATS:
        if not (isinstance(options, SelectiveOptions) and options.selects):
            _check_integer_only(model, cast, step, path)
        for name, part in (named(samples) if samples is not None else {}).items():
            if inputs[name].scale and dtypes.get(name, FLOAT) in FLOATS:
                _check_input_range(inputs[name], part, step, path)


def _named_inputs(model: Any) -> dict[str, TensorInfo]:
    """The inputs by their names in the signature."""
    tensors, entries = model.subgraphs[0].tensors, model.signatureDefs[0].inputs
    return {text(entry.name): tensor_info(tensors[entry.tensorIndex]) for entry in entries}


def check_outputs(outputs: NDArray[np.float32], expected: NDArray[np.float32], *, step: float, where: str) -> None:
    """Refuse a quantized model that has stopped listening to its input.

    Args:
        outputs: `[samples, …]` of the converted model, for samples that differ.
        expected: `[samples, …]` of the float model for the same samples.
        step: Scale of the quantized output: smaller changes cannot be seen. 0 where it is not quantized.
        where: Names the model in errors.

    Raises:
        StepFailed: The outputs are the same for all samples, and the float model's are not.
    """
    if np.ptp(outputs, axis=0).any() or not (np.ptp(expected, axis=0) > 2 * step).any():
        return
    message = f"the converted model gives the same outputs for all of {len(outputs)} calibration samples"
    raise StepFailed(message, where=where, fix="Its ranges swallow the signal: try mixed-int8, int16x8 or qat")


def _check_scales(model: Any, step: Step, path: Path) -> None:
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            scales = floats(tensor.quantization.scale) if tensor.quantization else []
            if any(not scale > 0 or not np.isfinite(scale) for scale in scales):
                message = f"{step.name}: tensor {text(tensor.name)!r} has scale {min(scales):g}"
                raise StepFailed(message, where=str(path), fix="Calibrate with real samples that excite every layer")


def _cast_at_the_ends(model: Any) -> set[int]:
    """Float tensors of the main graph that carry integers: what CAST makes of pixels for QUANTIZE, or of ids.

    A model that takes pixels as bytes and scales them itself, or token ids as floats, has such at its inputs.
    """
    graph = model.subgraphs[0]
    readers: dict[int, set[str]] = {}
    for op in graph.operators or []:
        for index in ints(op.inputs):
            readers.setdefault(index, set()).add(op_name(model, op))
    found = {index for index in ints(graph.inputs) if readers.get(index) == {"CAST"}}
    for op in graph.operators or []:
        if op_name(model, op) == "CAST":
            found |= {index for index in ints(op.outputs) if readers.get(index) == {"QUANTIZE"}}
    return found


def _check_integer_only(model: Any, cast: set[int], step: Step, path: Path) -> None:
    carriers = {text(model.subgraphs[0].tensors[index].name) for index in cast}
    if left := [name for name in float_tensors(model) if name not in carriers]:
        message = (
            f"{step.name}: {len(left)} float tensors left in a model that was to be integer only, first {left[0]!r}"
        )
        raise StepFailed(message, where=str(path), fix="Ask for `io: float32`, or replace what has no integer kernel")


def _check_input_range(info: TensorInfo, samples: NDArray[Any], step: Step, path: Path) -> None:
    """The quantized input must reach the ends of the calibration data, to one step of its scale, and not far beyond."""
    limits = np.iinfo(info.dtype)
    low, high = ((limit - info.zero_point) * info.scale for limit in (limits.min, limits.max))
    seen_low, seen_high = value_range(samples)
    message = f"the input covers [{low:g}, {high:g}], the calibration data [{seen_low:g}, {seen_high:g}]"
    if seen_low < low - info.scale or seen_high > high + info.scale:
        raise StepFailed(f"{step.name}: {message}", where=str(path), fix="The model was not calibrated with this data")
    if high - low > WIDEST * (max(seen_high, 0.0) - min(seen_low, 0.0)):
        raise StepFailed(f"{step.name}: {message}", where=str(path), fix="The data uses few of the input's levels")
