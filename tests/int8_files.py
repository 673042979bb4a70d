"""Real int8 `.tflite` files of a few layers, made in milliseconds without TensorFlow; weights have few values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as s
from numpy.typing import NDArray

OP = s.BuiltinOperator
SIDE = 8
"""Height and width of the activations."""


@dataclass(frozen=True)
class Layer:
    """One op with weights.

    Attributes:
        kind: `conv` (3×3), `pointwise`, `depthwise` (3×3), or `dense` behind a mean over the image.
        channels: Of its output.
        values: Distinct values that a channel's weights have; of all weights where there is one scale.
        per_channel: Whether weights have a scale for each output channel.
    """

    kind: str
    channels: int = 16
    values: int = 8
    per_channel: bool = True


def int8_file(*layers: Layer, channels: int = 4, seed: int = 0, old: bool = False) -> bytes:
    """An int8 model of these layers for images `[1, 8, 8, channels]`.

    Args:
        layers: In order.
        channels: Of the input.
        seed: Of the weights.
        old: Whether op codes stand only where old converters put them.
    """
    made = _File(np.random.default_rng(seed), channels)
    for layer in layers:
        made.add(layer)
    return made.finish(old=old)


def raw_samples(count: int = 8, channels: int = 4) -> NDArray[np.int8]:
    """Raw inputs of such a model."""
    return np.random.default_rng(3).integers(-128, 128, (count, SIDE, SIDE, channels)).astype(np.int8)


class _File:
    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.rng, self.channels = rng, channels
        self.buffers, self.tensors, self.ops, self.codes = [s.BufferT()], [], [], []
        self.last = self.tensor([1, SIDE, SIDE, channels], [0.05])

    def tensor(self, shape: list[int], scales: list[float], data: Any = None, *, axis: int = 0, kind: int = 9) -> int:
        """Append a tensor; a constant where there is data."""
        if data is not None:
            self.buffers.append(s.BufferT(data=np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)))
        held = s.QuantizationParametersT(
            scale=np.array(scales, np.float32), zeroPoint=np.zeros(len(scales), np.int64), quantizedDimension=axis
        )
        self.tensors.append(
            s.TensorT(
                shape=np.array(shape, np.int32),
                type=kind,
                buffer=len(self.buffers) - 1 if data is not None else 0,
                quantization=held if scales else None,
                name=f"tensor/{len(self.tensors)}",
            )
        )
        return len(self.tensors) - 1

    def add(self, layer: Layer) -> None:
        """Append a layer, its bias and its activation."""
        depthwise, dense = layer.kind == "depthwise", layer.kind == "dense"
        channels = self.channels if depthwise else layer.channels
        size = 1 if layer.kind == "pointwise" else 3
        axis = 3 if depthwise else 0
        shape = [1, 3, 3, channels] if depthwise else [channels, size, size, self.channels]
        if dense:
            self.mean()
            shape = [channels, self.channels]
        scales = self.rng.uniform(0.005, 0.02, channels if layer.per_channel else 1).tolist()
        weights = self.tensor(shape, scales, self.weights(shape, axis, layer), axis=axis if layer.per_channel else 0)
        bias = self.rng.integers(-500, 500, channels).astype(np.int32)
        biases = self.tensor([channels], [0.05 * scale for scale in scales], bias, kind=s.TensorType.INT32)
        self.channels = channels
        shape = [1, channels] if dense else [1, SIDE, SIDE, channels]
        code, options = {
            "depthwise": (
                OP.DEPTHWISE_CONV_2D,
                s.DepthwiseConv2DOptionsT(
                    strideW=1, strideH=1, depthMultiplier=1, dilationWFactor=1, dilationHFactor=1
                ),
            ),
            "dense": (OP.FULLY_CONNECTED, s.FullyConnectedOptionsT()),
        }.get(
            layer.kind,
            (OP.CONV_2D, s.Conv2DOptionsT(strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)),
        )
        self.op(code, [weights, biases], options, shape)

    def weights(self, shape: list[int], axis: int, layer: Layer) -> NDArray[np.int8]:
        """Weights of few values, others in each channel."""
        rows = np.moveaxis(np.empty(shape, np.int8), axis, 0)
        count = rows[0].size
        own = self.rng.choice(np.arange(-127, 128), layer.values, replace=False)
        for row in rows:
            if layer.per_channel:
                own = self.rng.choice(np.arange(-127, 128), min(layer.values, count), replace=False)
            picked = np.resize(own, count) if layer.per_channel else self.rng.choice(own, count)
            row[...] = self.rng.permutation(picked).reshape(row.shape)
        return np.moveaxis(rows, 0, axis)

    def mean(self) -> None:
        """Average over the image."""
        axes = self.tensor([2], [], np.array([1, 2], np.int32), kind=s.TensorType.INT32)
        self.op(OP.MEAN, [axes], s.ReducerOptionsT(keepDims=False), [1, self.channels])

    def op(self, code: int, extra: list[int], options: Any, shape: list[int]) -> None:
        """Append an op that reads the last activation."""
        output = self.tensor(shape, [0.05])
        self.codes.append(s.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=3))
        self.ops.append(
            s.OperatorT(
                opcodeIndex=len(self.codes) - 1,
                inputs=np.array([self.last, *extra], np.int32),
                outputs=np.array([output], np.int32),
                builtinOptions=options,
                builtinOptionsType=getattr(s.BuiltinOptions, type(options).__name__.removesuffix("T")),
            )
        )
        self.last = output

    def finish(self, *, old: bool) -> bytes:
        """The file."""
        for code in self.codes if old else []:
            code.builtinCode = 0
        graph = s.SubGraphT(
            tensors=self.tensors,
            inputs=np.array([0], np.int32),
            outputs=np.array([self.last], np.int32),
            operators=self.ops,
        )
        model = s.ModelT(version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
