"""A float `.tflite` as the source: what it says about itself, and its own outputs. Imports no TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.errors import InputError, first_line
from litemill.evidence.base import TensorInfo
from litemill.evidence.graph import GraphReport
from litemill.flatbuffer import read_graph
from litemill.flatbuffer.reader import ints, read_model, signature_names, text
from litemill.models.unpacked import FLOAT_FILE, FLOATS
from litemill.runtime.runner import ordered_names
from litemill.slim.sharing import pack_shared
from litemill.tasks.joined import side_by_side

FLOAT = "float32"
INPUTS = (FLOAT, "uint8", "int32", "int64", "bool")
"""What a float model may take: numbers, or pixels, indices and flags without a scale."""
FLOAT_FIX = (
    f"{FLOAT_FILE}, or start from its rounded weights with model.from_quantized: true; "
    "`litemill inspect` and `litemill benchmark` take it as it is"
)


def read_float(path: Path, *, from_quantized: bool = False) -> GraphReport:
    """Read a `.tflite` that a run can start from.

    Args:
        path: The file.
        from_quantized: Take one that is quantized: its ends are float32 then, as those of `unpacked` are.

    Raises:
        InputError: It is damaged, is quantized already, gives something else than float32, or its batch is fixed to
            more than one sample.
    """
    found = read_graph(path)
    if from_quantized:
        found = found.model_copy(
            update={
                "inputs": [_real(info) for info in found.inputs],
                "outputs": [_real(info) for info in found.outputs],
            }
        )
    ends = [info for info in found.inputs if info.dtype not in INPUTS]
    ends += [info for info in found.outputs if info.dtype != FLOAT]
    stored = {} if from_quantized else quantized_weights(found)
    if stored or ends or any(info.scale for info in found.inputs):
        message = [f"{count} {dtype} weights" for dtype, count in stored.items()]
        message += [f"{info.dtype} tensor {info.name!r}" for info in ends]
        raise InputError(f"is quantized already ({', '.join(message)})", where=str(path), fix=FLOAT_FIX)
    for info in found.inputs:
        if not info.shape or info.shape[0] not in (-1, 1):
            fix = "Convert it with a batch of 1 or a free one"
            raise InputError(f"input {info.name!r} has the fixed shape {info.shape}", where=str(path), fix=fix)
    return found


def quantized_weights(graph: GraphReport) -> dict[str, int]:
    """How many weights there are of each type that rounds them to few values."""
    return dict(Counter(weight.dtype for weight in graph.weights if weight.dtype not in FLOATS))


def _real(info: TensorInfo) -> TensorInfo:
    """An end of a quantized file as the real numbers that it stands for."""
    return info.model_copy(update={"dtype": FLOAT, "scale": 0.0, "zero_point": 0}) if info.scale else info


def ends_of(path: Path) -> tuple[list[str], list[str]]:
    """Names of a file's inputs and outputs: those of its signature, else none for inputs and tensors' for outputs.

    Raises:
        InputError: The file is missing or damaged.
    """
    inputs, outputs = signature_names(path)
    own = ordered_names([info.name for info in read_graph(path).outputs])
    return (inputs if all(inputs) else []), (outputs if outputs and all(outputs) else own)


def name_inputs(path: Path, names: Sequence[str]) -> None:
    """Give a file that names none of its several inputs a signature, in place: the names are in the file's order.

    Args:
        path: The file.
        names: One for each input.

    Raises:
        InputError: It is damaged, or has another number of inputs.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(path)
    graph = model.subgraphs[0]
    inputs, outputs = ints(graph.inputs), ints(graph.outputs)
    if len(inputs) != len(names):
        raise InputError(f"has {len(inputs)} inputs, the data {len(names)}: {', '.join(names)}", where=str(path))
    ends = ordered_names([text(graph.tensors[index].name) for index in outputs])
    model.signatureDefs = [
        schema.SignatureDefT(
            [schema.TensorMapT(name.encode(), index) for name, index in zip(names, inputs, strict=True)],
            [schema.TensorMapT(name.encode(), index) for name, index in zip(ends, outputs, strict=True)],
            b"serving_default",
            0,
        )
    ]
    path.write_bytes(pack_shared(model))


def outputs_of(path: Path, x: NDArray[Any], judged: Sequence[int] = (0,)) -> NDArray[np.float32]:
    """One output for every sample, one by one as an app runs them.

    Args:
        path: The file.
        x: `[samples, …]` in the dtype of the input; of several a structured array, by name or in the file's order.
        judged: Positions of the output, or of those that are wanted side by side.

    Returns:
        float32 `[samples, …]`.

    Raises:
        InputError: LiteRT cannot run the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    names = ends_of(path)[0]
    parts = named(x)
    ordered = [parts[name] for name in names] if set(names) == set(parts) else list(parts.values())
    try:
        interpreter: Any = Interpreter(str(path), num_threads=1)
        for info, part in zip(interpreter.get_input_details(), ordered, strict=True):
            interpreter.resize_tensor_input(info["index"], [1, *part.shape[1:]])
        interpreter.allocate_tensors()
        inputs, ends = interpreter.get_input_details(), interpreter.get_output_details()
        outputs = []
        for row in range(len(x)):
            for info, part in zip(inputs, ordered, strict=True):
                interpreter.set_tensor(info["index"], np.asarray(part[row : row + 1]).astype(info["dtype"]))
            # What recurrent layers keep of the sample before is not this sample's.
            interpreter.reset_all_variables()
            interpreter.invoke()
            outputs.append(side_by_side([interpreter.get_tensor(ends[place]["index"]) for place in judged])[0])
    except (RuntimeError, ValueError) as error:
        raise InputError(f"LiteRT cannot run it: {first_line(error)}", where=str(path)) from None
    return np.stack(outputs)
