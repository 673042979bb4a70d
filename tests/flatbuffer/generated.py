"""Hypothesis strategy: small `.tflite` files of the op types we meet, built from the schema and full of repetition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as s
from hypothesis import strategies as st

SHAPE = [1, 4, 4, 4]
OP = s.BuiltinOperator


class Graph:
    """A chain of ops on one activation of shape `SHAPE` (or `[1, n]` behind a reshape)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.tensors, self.ops, self.codes = rng, [], [], []
        self.buffers = [s.BufferT()]
        self.last = self.add(SHAPE)

    def add(self, shape: list[int], data: Any = None) -> int:
        """Add a tensor with a buffer of its own, as converters do; constants where there is data."""
        buffer = s.BufferT()
        if data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.buffers.append(buffer)
        kind = s.TensorType.INT32 if data is not None and data.dtype == np.int32 else s.TensorType.FLOAT32
        shapes = {"shape": np.array(shape, np.int32), "shapeSignature": np.array(shape, np.int32)}
        name = f"tensor/{len(self.tensors)}"
        quantization = s.QuantizationParametersT(min=np.array([0.0], np.float32), max=np.array([1.0], np.float32))
        self.tensors.append(
            s.TensorT(type=kind, buffer=len(self.buffers) - 1, name=name, quantization=quantization, **shapes)
        )
        return len(self.tensors) - 1

    def weights(self, shape: list[int]) -> int:
        """A constant of few values, so that contents repeat."""
        return self.add(shape, self.rng.choice([-0.5, 0.0, 0.25], shape).astype(np.float32))

    def numbers(self, values: list[int]) -> int:
        return self.add([len(values)], np.array(values, np.int32))

    def op(self, code: int, extra: list[int], options: Any = None, shape: list[int] | None = None) -> None:
        """Append an op that reads the last activation, with an operator code of its own."""
        self.codes.append(s.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=1))
        output = self.add(shape or [int(size) for size in self.tensors[self.last].shape])
        kind = 0 if options is None else getattr(s.BuiltinOptions, type(options).__name__.removesuffix("T"))
        empty = np.array([], np.int32)
        self.ops.append(
            s.OperatorT(
                opcodeIndex=len(self.codes) - 1,
                inputs=np.array([self.last, *extra], np.int32),
                outputs=np.array([output], np.int32),
                builtinOptions=options,
                builtinOptionsType=kind,
                intermediates=empty,
                mutatingVariableInputs=np.zeros(len(extra) + 1, np.bool_),
            )
        )
        self.last = output

    def finish(self) -> bytes:
        """The file: with a signature, metadata and a tensor nobody uses."""
        self.add([7, 3], np.ones((7, 3), np.float32))
        self.buffers.append(s.BufferT(data=np.frombuffer(b"1.5.0" + bytes(11), np.uint8)))
        graph = s.SubGraphT(
            tensors=self.tensors,
            inputs=np.array([0], np.int32),
            outputs=np.array([self.last], np.int32),
            operators=self.ops,
            name="main",
        )
        signature = s.SignatureDefT(
            inputs=[s.TensorMapT(name="x", tensorIndex=0)],
            outputs=[s.TensorMapT(name="y", tensorIndex=self.last)],
            signatureKey="serving_default",
        )
        model = s.ModelT(
            version=3,
            operatorCodes=self.codes,
            subgraphs=[graph],
            buffers=self.buffers,
            description="generated",
            signatureDefs=[signature],
            metadata=[s.MetadataT(name="min_runtime_version", buffer=len(self.buffers) - 1)],
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _conv(graph: Graph) -> None:
    options = s.Conv2DOptionsT(strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=1)
    graph.op(OP.CONV_2D, [graph.weights([4, 3, 3, 4]), graph.weights([4])], options)


def _depthwise(graph: Graph) -> None:
    options = s.DepthwiseConv2DOptionsT(strideW=1, strideH=1, depthMultiplier=1, dilationWFactor=1, dilationHFactor=1)
    graph.op(OP.DEPTHWISE_CONV_2D, [graph.weights([1, 3, 3, 4]), graph.weights([4])], options)


def _pool(graph: Graph) -> None:
    options = s.Pool2DOptionsT(strideW=1, strideH=1, filterWidth=2, filterHeight=2)
    graph.op(OP.MAX_POOL_2D, [], options)


def _pad_and_crop(graph: Graph) -> None:
    paddings = graph.add([4, 2], np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    graph.op(OP.PAD, [paddings], s.PadOptionsT(), [1, 6, 6, 4])
    begin, end, step = graph.numbers([0, 1, 1, 0]), graph.numbers([1, 5, 5, 4]), graph.numbers([1, 1, 1, 1])
    graph.op(OP.STRIDED_SLICE, [begin, end, step], s.StridedSliceOptionsT(), SHAPE)


STEPS: dict[str, Callable[[Graph], None]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "pool": _pool,
    "pad": _pad_and_crop,
    "add": lambda graph: graph.op(OP.ADD, [graph.weights(SHAPE)], s.AddOptionsT(fusedActivationFunction=3)),
    "multiply": lambda graph: graph.op(OP.MUL, [graph.weights([4])], s.MulOptionsT()),
    "subtract": lambda graph: graph.op(OP.SUB, [graph.weights([4])], s.SubOptionsT()),
    "concatenate-self": lambda graph: graph.op(OP.ADD, [graph.last], s.AddOptionsT()),
    "prelu": lambda graph: graph.op(OP.PRELU, [graph.weights([1, 1, 4])]),
    "transpose": lambda graph: graph.op(OP.TRANSPOSE, [graph.numbers([0, 2, 1, 3])], s.TransposeOptionsT()),
    "leaky": lambda graph: graph.op(OP.LEAKY_RELU, [], s.LeakyReluOptionsT(alpha=0.1)),
    "relu6": lambda graph: graph.op(OP.RELU6, []),
    "tanh": lambda graph: graph.op(OP.TANH, []),
    "logistic": lambda graph: graph.op(OP.LOGISTIC, []),
    "hard-swish": lambda graph: graph.op(OP.HARD_SWISH, [], s.HardSwishOptionsT()),
    "softmax": lambda graph: graph.op(OP.SOFTMAX, [], s.SoftmaxOptionsT(beta=1.0)),
}


def _head(graph: Graph, kind: str) -> None:
    if kind == "mean":
        graph.op(OP.MEAN, [graph.numbers([1, 2])], s.ReducerOptionsT(keepDims=False), [1, 4])
    elif kind == "dense":
        graph.op(OP.RESHAPE, [graph.numbers([1, 64])], s.ReshapeOptionsT(newShape=np.array([1, 64], np.int32)), [1, 64])
        graph.op(OP.FULLY_CONNECTED, [graph.weights([3, 64]), -1], s.FullyConnectedOptionsT(), [1, 3])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """A `.tflite` of one to eight steps and one of three heads."""
    graph = Graph(np.random.default_rng(draw(st.integers(0, 3))))
    for step in draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8)):
        STEPS[step](graph)
    _head(graph, draw(st.sampled_from(["none", "mean", "dense"])))
    return graph.finish()
