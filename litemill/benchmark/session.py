"""What a target measures and what it promises: the types that all targets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from litemill.evaluate.runner import dequantize, quantize
from litemill.evidence import Measurement, TensorInfo, VariantManifest

FLOAT_SCHEMES = frozenset({"float32", "float16"})
FLOAT_TOLERANCE = 1e-3
"""Of the outputs' spread: float kernels differ between machines in the order of their sums."""
QUANTIZED_TOLERANCE = 0.05
"""Of the outputs' spread: rounding differs by a step here and there, and a step is up to 1/256 of the range."""
ACCELERATOR_TOLERANCE = 0.02
"""Of the outputs' spread, on a GPU or an NPU: they compute in half precision."""


@dataclass(frozen=True)
class Subject:
    """A `.tflite` to measure: once, however many recipes led to the same bytes."""

    sha256: str
    path: Path
    scheme: str
    size_bytes: int
    input: TensorInfo
    output: TensorInfo

    @classmethod
    def of(cls, manifest: VariantManifest, path: Path) -> Subject:
        """The subject of a variant.

        Raises:
            ValueError: The manifest has no graph report, or the model has several inputs.
        """
        graph = manifest.graph
        if graph is None or len(graph.inputs) != 1 or not graph.outputs:
            raise ValueError("one input and a graph report are needed")
        return cls(manifest.sha256, path, manifest.scheme, manifest.size_bytes, graph.inputs[0], graph.outputs[0])

    @property
    def tolerance(self) -> float:
        """How far outputs may be from a reference of the same kernel set, as a fraction of their spread."""
        return FLOAT_TOLERANCE if self.scheme in FLOAT_SCHEMES else QUANTIZED_TOLERANCE

    def raw(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Samples in the model's own input dtype."""
        return quantize(samples, _details(self.input))

    def real(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """The model's raw outputs as real values."""
        return dequantize(outputs, _details(self.output))


class Target(Protocol):
    """A place to run variants."""

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """Measure all subjects in one session.

        Args:
            subjects: Distinct files; the first is the float32 baseline.
            samples: Real preprocessed samples, `[samples, …]`, for parity.

        Returns:
            A measurement by sha256, with status `failed` and the reason for a subject that did not work;
            `recipe` and `target` are left to the caller.

        Raises:
            DeviceError: Nothing could be measured.
        """

    def facts(self) -> dict[str, Any]:
        """What the target is: hardware, software, versions.

        Raises:
            DeviceError: It cannot be reached.
        """


def failed(reason: str, **more: Any) -> Measurement:
    """A measurement that did not work."""
    return Measurement(recipe="", target="", status="failed", reason=reason, **more)


def _details(tensor: TensorInfo) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "quantization": (tensor.scale, tensor.zero_point)}
