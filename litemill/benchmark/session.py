"""What a target measures and what it promises: the types that all targets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import joined, named
from litemill.artifacts.layout import TFLM_TFLITE
from litemill.evidence.base import TensorInfo
from litemill.evidence.graph import GraphReport
from litemill.evidence.outcome import Measurement
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer.reader import signature_names
from litemill.runtime.quantization import dequantize, quantize
from litemill.runtime.runner import ordered_names
from litemill.tasks import Decisions
from litemill.tasks.joined import parts_of

QUANTIZED = frozenset({"int4", "int8", "uint8", "int16"})
"""Types of weights that only a quantized file has."""
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
    size_bytes: int
    quantized: bool
    """Whether it computes with quantized weights or outputs."""
    inputs: dict[str, TensorInfo]
    """In the file's order, by their names in the signature or their tensors'; the only one under the empty name."""
    outputs: list[TensorInfo]
    """In the file's order."""
    judged: int = 0
    """Position of the output that is compared."""
    output_name: str = ""
    """Its name in the signature, where there are several."""
    decide: Decisions | None = None
    """What reads the task's decisions out of outputs; None where outputs are numbers, or no task is known."""
    unnamed: bool = False
    """Whether it has several inputs that no signature names: samples are fed in the file's order."""
    tables: Path | None = None
    """The same model with look-up tables, for targets that decode them; None where there is no such file."""

    @classmethod
    def of(cls, manifest: VariantManifest, path: Path) -> Subject:
        """The subject of a variant.

        Raises:
            ValueError: The manifest has no graph report, or the file does not name its outputs.
        """
        if manifest.graph is None or not manifest.graph.outputs:
            raise ValueError("a graph report is needed")
        made = cls.made(manifest.sha256, path, manifest.size_bytes, manifest.graph, manifest.output)
        beside = path.with_name(TFLM_TFLITE) if manifest.lut and manifest.lut.applied else None
        return replace(made, tables=beside)

    @classmethod
    def made(cls, sha256: str, path: Path, size: int, graph: GraphReport, output: str = "") -> Subject:
        """The subject of a file, of whose outputs the named one is compared, else the first.

        Raises:
            ValueError: The file's signature does not name that output.
        """
        inputs, judged, unnamed = {"": graph.inputs[0]} if graph.inputs else {}, 0, False
        if len(graph.inputs) > 1 or output:
            ends = signature_names(path)
            if len(graph.inputs) > 1:
                unnamed = not all(ends[0]) or len(set(ends[0])) < len(graph.inputs)
                names = ordered_names([info.name for info in graph.inputs]) if unnamed else ends[0]
                inputs = dict(zip(names, graph.inputs, strict=True))
            # Of several that are judged together the first: targets give one.
            output = parts_of(output, ends[1])[0]
            if output and output not in ends[1]:
                raise ValueError(f"no signature that names output {output!r}")
            judged = ends[1].index(output) if output else 0
        quantized = bool(graph.outputs[0].scale) or any(weight.dtype in QUANTIZED for weight in graph.weights)
        return cls(sha256, path, size, quantized, inputs, graph.outputs, judged, output, unnamed=unnamed)

    @property
    def output(self) -> TensorInfo:
        """The output that is compared."""
        return self.outputs[self.judged]

    @property
    def sample_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample by input."""
        return {name: tuple(info.shape[1:]) for name, info in self.inputs.items()}

    @property
    def tolerance(self) -> float:
        """How far outputs may be from a reference of the same kernel set, as a fraction of their spread."""
        return QUANTIZED_TOLERANCE if self.quantized else FLOAT_TOLERANCE

    def raw(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Samples in the model's own input dtypes; of several inputs a structured array in the file's order."""
        parts = named(samples)
        if not set(self.inputs) <= set(parts):  # a file without names: by its order
            parts = dict(zip(self.inputs, parts.values(), strict=True))
        return joined({name: quantize(parts[name], _details(info)) for name, info in self.inputs.items()})

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
