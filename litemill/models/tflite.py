"""A float `.tflite` as the source: what it says about itself, and its own outputs. Imports no TensorFlow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError, first_line
from litemill.evidence import GraphReport
from litemill.flatbuffer import read_graph

FLOAT = "float32"


def read_float(path: Path) -> GraphReport:
    """Read a `.tflite` that a run can start from.

    Raises:
        InputError: It is damaged, is quantized already, takes or gives something else than float32, has several
            inputs or outputs, or its batch is fixed to more than one sample.
    """
    found = read_graph(path)
    stored = Counter(weight.dtype for weight in found.weights if weight.dtype != FLOAT)
    ends = [info for info in (*found.inputs, *found.outputs) if info.dtype != FLOAT]
    if stored or any(info.scale for info in ends):
        message = [f"{count} {dtype} weights" for dtype, count in stored.items()]
        message += [f"{info.dtype} tensor {info.name!r}" for info in ends]
        fix = "Give the float32 file it was made from; `litemill inspect` and `litemill benchmark` take it as it is"
        raise InputError(f"is quantized already ({', '.join(message)})", where=str(path), fix=fix)
    for info in ends:
        raise InputError(f"has the {info.dtype} tensor {info.name!r}; only float32 is supported", where=str(path))
    if len(found.inputs) != 1 or len(found.outputs) != 1:
        what = f"has {len(found.inputs)} inputs and {len(found.outputs)} outputs; a .tflite may have one of each"
        raise InputError(what, where=str(path), fix="Bring the Keras model or SavedModel it was made from")
    for info in found.inputs:
        if not info.shape or info.shape[0] not in (-1, 1):
            fix = "Convert it with a batch of 1 or a free one"
            raise InputError(f"input {info.name!r} has the fixed shape {info.shape}", where=str(path), fix=fix)
    return found


def outputs_of(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output for every sample, one by one as an app runs them.

    Args:
        path: The file.
        x: float32 `[samples, …]`.

    Returns:
        float32 `[samples, …]`.

    Raises:
        InputError: LiteRT cannot run the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter: Any = Interpreter(str(path), num_threads=1)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [1, *x.shape[1:]])
        interpreter.allocate_tensors()
        source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        outputs = []
        for sample in x:
            interpreter.set_tensor(source, np.asarray(sample[np.newaxis], np.float32))
            # What recurrent layers keep of the sample before is not this sample's.
            interpreter.reset_all_variables()
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(result)[0])
    except (RuntimeError, ValueError) as error:
        first = first_line(error)
        raise InputError(f"LiteRT cannot run it: {first}", where=str(path)) from None
    return np.stack(outputs)
