"""How much each layer of a quantized model costs: the model in float but for one layer, layer by layer.

The float conversion and the quantized one of a model have the same layers under the same names. So a layer is judged by
putting its quantized op, with its stored weights and ranges, into the float graph between a QUANTIZE and a DEQUANTIZE,
and by what that does to the outputs (Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 4.4).
One conversion serves all layers.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from litemill.convert.batch import free_reshapes
from litemill.errors import InputError
from litemill.evidence.variant import LayerSensitivity
from litemill.flatbuffer.reader import DTYPE_NAMES, constant, ints, op_name, parse_model, text
from litemill.runtime.runner import Runner
from litemill.slim.sharing import pack_shared

log = logging.getLogger(__name__)
Samples = NDArray[np.float32]

MEASURED_SAMPLES = 64
STILL = 1e-3
"""A column that changes by less than this part of its largest value says nothing."""
PERFECT_DB = 120.0
"""What a change too small for float32 counts as."""
QUANTIZED = ("int8", "int16", "uint8")
CONVERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 3}
"""Ops that are no layers, and the version of each that knows int8 and int16."""


class Layer(NamedTuple):
    """A layer's op in the quantized graph and where it stands in the float one."""

    name: str
    op: Any
    place: int


def rank_layers(
    quantized: bytes, reference: bytes, samples: NDArray[Any], output: str = "", *, by_column: bool = False
) -> list[LayerSensitivity]:
    """Quantize each layer alone and rank the layers by what that does to the outputs, worst first.

    Args:
        quantized: A `.tflite` with quantized activations, as converted: with the names of its tensors.
        reference: The float conversion of the same model (see `float_counterpart`).
        samples: `[samples, …]` float inputs, structured where there are several; the first `MEASURED_SAMPLES` are used.
        output: The one that is judged, of a model with several.
        by_column: Whether the worst column of the outputs counts, see `noise_of`.

    Returns:
        One entry a layer that both files have; empty where their names have nothing in common.
    """
    x = np.asarray(samples[:MEASURED_SAMPLES])
    expected = run(reference, x, output)
    found = []
    for name, op, data in _spliced(quantized, reference):
        try:
            noise = noise_of(expected, run(data, x, output), by_column=by_column)
        except InputError as error:
            log.info("%s: its sensitivity is not known: %s", name, error)
            continue
        found.append(LayerSensitivity(name=name, op=op, sqnr_db=noise))
    return sorted(found, key=lambda layer: layer.sqnr_db)


def sqnr_db(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Signal to quantization noise: variance of the outputs over the mean square of their change, in dB."""
    noise = float(np.mean(np.square(found.astype(np.float64) - expected)))
    signal = float(np.var(expected.astype(np.float64)))
    if noise == 0 or signal == 0:
        return PERFECT_DB if noise == 0 else -PERFECT_DB
    return float(np.clip(10 * np.log10(signal / noise), -PERFECT_DB, PERFECT_DB))


def column_sqnr_db(expected: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
    """`sqnr_db` of each column, which is what stands at one place of the last axis; infinite where it hardly changes.

    One scale for a whole tensor swallows a column that is small beside the others, and the noise over all of them
    does not show it.
    """
    width = expected.shape[-1] if expected.ndim > 1 else 1
    columns = zip(expected.reshape(-1, width).T, found.reshape(-1, width).T, strict=True)
    return np.array(
        [
            sqnr_db(one, other) if np.ptp(one) > STILL * np.abs(one).max(initial=0.0) else np.inf
            for one, other in columns
        ]
    )


def noise_of(expected: NDArray[Any], found: NDArray[Any], *, by_column: bool) -> float:
    """Signal to noise in dB: over all outputs, or of the worst column where columns mean different things."""
    whole = sqnr_db(expected, found)
    return min(whole, float(column_sqnr_db(expected, found).min())) if by_column else whole


def run(data: bytes, x: NDArray[Any], output: str = "") -> Samples:
    """Outputs of a `.tflite` that is in memory.

    Raises:
        InputError: LiteRT cannot run it.
    """
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        return Runner(path, output=output).run(x)


def float_counterpart(data: bytes) -> bytes:
    """A float conversion that follows the batch and rounds nothing.

    Quantization-aware training leaves pairs of QUANTIZE and DEQUANTIZE in a float conversion; without them it is the
    model that the training rounded.
    """
    model = parse_model(free_reshapes(data), where="float conversion")
    (graph,) = model.subgraphs[:1]
    made = {ints(op.outputs)[0]: ints(op.inputs)[0] for op in graph.operators if op_name(model, op) == "QUANTIZE"}
    pairs = {
        ints(op.outputs)[0]: made[ints(op.inputs)[0]]
        for op in graph.operators
        if op_name(model, op) == "DEQUANTIZE" and ints(op.inputs)[0] in made
    }
    if not pairs:
        return free_reshapes(data)
    graph.operators = [
        op for op in graph.operators if ints(op.outputs)[0] not in pairs and ints(op.outputs)[0] not in made
    ]
    for op in graph.operators:
        op.inputs = np.array([_follow(pairs, index) for index in ints(op.inputs)], np.int32)
    graph.outputs = np.array([_follow(pairs, index) for index in ints(graph.outputs)], np.int32)
    for signature in model.signatureDefs or []:
        for entry in signature.outputs:
            entry.tensorIndex = _follow(pairs, entry.tensorIndex)
    return pack_shared(model)


def _follow(pairs: dict[int, int], index: int) -> int:
    while index in pairs:
        index = pairs[index]
    return index


def _spliced(quantized: bytes, reference: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Name, op and file of the float model with one layer quantized, for every layer."""
    source, target = (parse_model(data, where="converted model") for data in (quantized, reference))
    for layer in _layers(source, target):
        splice = Splice(source, target)
        if splice.put(layer):
            yield layer.name, op_name(source, layer.op), splice.pack()


def _layers(source: Any, target: Any) -> list[Layer]:
    """Ops with quantized outputs that the float graph has too, under the same name and of the same type."""
    graph, main = source.subgraphs[0], target.subgraphs[0]
    places = {
        text(main.tensors[ints(op.outputs)[0]].name): place
        for place, op in enumerate(main.operators)
        if len(op.outputs) and op_name(target, op) not in CONVERSIONS
    }
    # An output that is converted at the end of the graph keeps its name behind the conversion.
    behind = {
        ints(op.inputs)[0]: text(graph.tensors[ints(op.outputs)[0]].name)
        for op in graph.operators
        if op_name(source, op) in CONVERSIONS
    }
    found = []
    for op in graph.operators:
        output = ints(op.outputs)[0]
        if op_name(source, op) in CONVERSIONS or DTYPE_NAMES.get(graph.tensors[output].type) not in QUANTIZED:
            continue
        names = (text(graph.tensors[output].name), behind.get(output, ""))
        name = next((name for name in names if name in places), "")
        if name and op_name(target, main.operators[places[name]]) == op_name(source, op):
            found.append(Layer(name, op, places[name]))
    return found


class Splice:
    """A copy of a float graph into which ops of its quantized sibling can be put.

    Args:
        source: The quantized model.
        target: The float model; it is not changed.
    """

    def __init__(self, source: Any, target: Any) -> None:
        self._source, self._sibling, self._main = source, source.subgraphs[0], target.subgraphs[0]
        self._model, self._graph = copy.copy(target), copy.copy(target.subgraphs[0])
        self._model.subgraphs = [self._graph, *target.subgraphs[1:]]
        self._model.operatorCodes, self._model.buffers = [*target.operatorCodes], [*target.buffers]
        self._graph.tensors, self._graph.operators = [*self._main.tensors], [*self._main.operators]

    def put(self, layer: Layer) -> bool:
        """Let the quantized op stand for the float one; False where their inputs do not correspond."""
        old = self._main.operators[layer.place]
        new, before, after = copy.copy(layer.op), [], []
        sources, outputs = ints(old.inputs), ints(old.outputs)
        inputs = []
        for place, index in enumerate(ints(layer.op.inputs)):
            if index < 0 or constant(self._source, self._sibling.tensors[index]) is not None:
                inputs.append(index if index < 0 else self._take(index))
            elif place >= len(sources):
                return False
            elif self._same(index, sources[place]):
                inputs.append(sources[place])
            else:
                inputs.append(self._take(index))
                before.append(self._conversion("QUANTIZE", sources[place], inputs[-1]))
        made = []
        for index, output in zip(ints(layer.op.outputs), outputs, strict=True):
            made.append(output if self._same(index, output) else self._take(index))
            if made[-1] != output:
                after.append(self._conversion("DEQUANTIZE", made[-1], output))
        new.inputs, new.outputs = np.array(inputs, np.int32), np.array(made, np.int32)
        new.opcodeIndex = self._code(self._source.operatorCodes[layer.op.opcodeIndex])
        self._graph.operators[layer.place : layer.place + 1] = [*before, new, *after]
        return True

    def pack(self) -> bytes:
        """The file."""
        return pack_shared(self._model)

    def _same(self, index: int, other: int) -> bool:
        return bool(self._sibling.tensors[index].type == self._main.tensors[other].type)

    def _take(self, index: int) -> int:
        """Copy a tensor of the quantized graph, with its contents if it is constant; its new index."""
        tensor = copy.copy(self._sibling.tensors[index])
        self._model.buffers.append(self._source.buffers[tensor.buffer])
        tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _conversion(self, name: str, source: int, sink: int) -> Any:
        builtin = getattr(schema.BuiltinOperator, name)
        code = schema.OperatorCodeT(deprecatedBuiltinCode=builtin, builtinCode=builtin, version=CONVERSIONS[name])
        inputs, outputs = np.array([source], np.int32), np.array([sink], np.int32)
        return schema.OperatorT(opcodeIndex=self._code(code), inputs=inputs, outputs=outputs)

    def _code(self, code: Any) -> int:
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1
