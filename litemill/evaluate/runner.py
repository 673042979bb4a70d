"""Run a `.tflite` in LiteRT over many samples: batched, on all cores, with results identical to batch 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from litemill.errors import InputError

Kernels = Literal["xnnpack", "reference"]
"""Which kernels compute: XNNPACK (phones, this host), or the reference ones, which equal TFLM's bit for bit."""

BATCH = 64


class Runner:
    """A `.tflite` with one input, opened once.

    Args:
        path: The file.
        batch: Samples in one invocation. A model that cannot be resized runs one by one; see the attribute `batch`.
        threads: Threads of one invocation; all cores by default.
        kernels: Which kernels compute.

    Raises:
        InputError: LiteRT cannot open the file, or it has several inputs.
    """

    def __init__(
        self, path: Path, *, batch: int = BATCH, threads: int | None = None, kernels: Kernels = "xnnpack"
    ) -> None:
        self.path, self.kernels = Path(path), kernels
        self._threads = threads or len(os.sched_getaffinity(0))
        self.batch = batch
        try:
            try:
                self._open(batch)
            except (RuntimeError, ValueError):
                if batch == 1:
                    raise
                self.batch = 1
                self._open(1)
        except (RuntimeError, ValueError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"LiteRT cannot run it: {first}", where=str(path)) from None

    def _open(self, batch: int) -> None:
        """Open the file for a batch size and try it once, so that a later invocation cannot fail on its shape."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.BUILTIN_REF if self.kernels == "reference" else OpResolverType.AUTO
        interpreter = Interpreter(str(self.path), num_threads=self._threads, experimental_op_resolver_type=resolver)
        inputs = interpreter.get_input_details()
        if len(inputs) != 1:
            raise InputError(f"has {len(inputs)} inputs, one is supported", where=str(self.path))
        if inputs[0]["shape"][0] != batch:
            interpreter.resize_tensor_input(inputs[0]["index"], [batch, *inputs[0]["shape"][1:]])
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self.input: dict[str, Any] = interpreter.get_input_details()[0]
        self.outputs: list[dict[str, Any]] = interpreter.get_output_details()
        if batch > 1:
            interpreter.invoke()
            if any(interpreter.get_tensor(output["index"]).shape[:1] != (batch,) for output in self.outputs):
                raise ValueError("the output does not follow the batch")

    @property
    def input_shape(self) -> list[int]:
        """Shape of one sample, without the batch."""
        return [int(size) for size in self.input["shape"][1:]]

    def run(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """First output for every sample.

        Args:
            x: float32 `[samples, …]` as the model was trained on; may be memory-mapped.

        Returns:
            float32 `[samples, …]`, dequantized by the output's own scale.

        Raises:
            InputError: A sample has another shape than the model's input.
        """
        if list(x.shape[1:]) != self.input_shape:
            raise InputError(
                f"a sample has shape {list(x.shape[1:])}, it takes {self.input_shape}", where=str(self.path)
            )
        if not len(x):
            return np.empty((0, *self.outputs[0]["shape"][1:]), np.float32)
        return np.concatenate(list(self._batches(x)))

    def _batches(self, x: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Run batch by batch; the last is filled up with zeros, so that one shape is allocated only once."""
        for start in range(0, len(x), self.batch):
            part = np.asarray(x[start : start + self.batch], dtype=np.float32)
            missing = self.batch - len(part)
            if missing:
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.float32)])
            self._interpreter.set_tensor(self.input["index"], quantize(part, self.input))
            self._interpreter.invoke()
            output = self._interpreter.get_tensor(self.outputs[0]["index"])
            yield dequantize(output, self.outputs[0])[: self.batch - missing]


def quantize(values: NDArray[np.float32], details: dict[str, Any]) -> NDArray[Any]:
    """Real values to a tensor's own dtype: round(x / scale) + zero point, saturated; halves go away from zero."""
    dtype = np.dtype(details["dtype"])
    scale, zero_point = details["quantization"]
    if not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    scaled = values / np.float32(scale)
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + zero_point
    stored: NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return stored


def dequantize(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    """A tensor's stored values to real ones: scale · (q − zero point)."""
    scale, zero_point = details["quantization"]
    if not scale:
        return values.astype(np.float32)
    real: NDArray[np.float32] = (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return real
