"""Parity: what a variant answers against what the model it was made from answers, on real samples, by kernel set.

Quantization moves outputs; how far, tells more than an accuracy in which errors cancel. The kernel set belongs to it:
int8 outputs of XNNPACK and of the reference kernels, which are those of a microcontroller, differ. Runs where
TensorFlow is imported already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.config.data_kinds import Kernels
from litemill.config.schemes import SCHEMES
from litemill.convert.batch import SIGNATURE
from litemill.evidence.variant import VariantParity
from litemill.flatbuffer import read_graph
from litemill.runtime.runner import Runner
from litemill.tasks import Decisions
from litemill.tasks.joined import parts_of, side_by_side

Outputs = NDArray[np.float32]
Array = NDArray[Any]

KERNELS: tuple[Kernels, ...] = ("xnnpack", "reference")
MOST_SAMPLES, FEWEST_SAMPLES = 128, 16
MOST_MACS = 2_000_000_000
"""Multiply-accumulates for all samples of a comparison: about a second and a half of reference kernels on a core."""
BROKEN = float(np.finfo(np.float32).max)
"""The error of an output that is NaN or Inf: JSON has neither."""
BATCH = 32


@dataclass
class References:
    """The answers that the variants of one model are compared with; each is computed once.

    Attributes:
        x: Real samples.
        keras: Outputs of the Keras model; None where there is no such model.
        float32: Path of the float conversion.
        output: Name of the output that is judged, of a model with several.
    """

    x: NDArray[Any]
    keras: Outputs | None
    float32: Path
    output: str = ""
    _float_outputs: dict[str, Outputs] = field(default_factory=dict)

    def float_outputs(self, kernels: Kernels) -> Outputs:
        """Outputs of the float conversion with a kernel set."""
        if kernels not in self._float_outputs:
            self._float_outputs[kernels] = Runner(self.float32, kernels=kernels, output=self.output).run(self.x)
        return self._float_outputs[kernels]


def parity_samples(x: NDArray[Any], tflite: Path) -> NDArray[Any]:
    """Samples spread evenly over a split: as many as the slowest kernels do in a second or two."""
    return spread_samples(x, max(FEWEST_SAMPLES, min(MOST_SAMPLES, MOST_MACS // max(read_graph(tflite).macs, 1))))


def spread_samples(x: NDArray[Any], count: int) -> NDArray[Any]:
    """At most so many samples, spread evenly over a split."""
    return np.ascontiguousarray(x[np.unique(np.linspace(0, len(x) - 1, count, dtype=int))])


def measure_parity(tflite: Path, scheme: str, references: References, decide: Decisions | None) -> list[VariantParity]:
    """Compare a variant with the Keras model and with float32, with each kernel set.

    Args:
        tflite: The variant.
        scheme: By which it was converted; float32 is not compared with itself.
        references: What it was made from answers.
        decide: What reads the task's decisions out of outputs; None where outputs are numbers.

    Returns:
        One row for each kernel set and reference.

    Raises:
        InputError: LiteRT cannot run the file with one of the kernel sets.
    """
    rows = []
    for kernels in KERNELS:
        found = Runner(tflite, kernels=kernels, output=references.output).run(references.x)
        if references.keras is not None:
            rows.append(compare(found, references.keras, kernels, "keras", decide))
        if not SCHEMES[scheme].exact:
            rows.append(compare(found, references.float_outputs(kernels), kernels, "float32", decide))
    return rows


def compare(
    found: Outputs, expected: Outputs, kernels: Kernels, against: str, decide: Decisions | None
) -> VariantParity:
    """Errors relative to the spread (largest minus smallest) of the expected outputs, and agreement on decisions.

    An absolute error would pass anything where outputs are small.
    """
    finite = expected[np.isfinite(expected)]
    spread = (float(np.ptp(finite)) if finite.size else 0.0) or 1.0
    errors = np.abs(found.astype(np.float64) - expected) / spread
    errors[~np.isfinite(errors)] = BROKEN
    return VariantParity(
        kernels=kernels,
        against=against,
        samples=len(expected),
        agreement=decide.agreement(found, expected) if decide else None,
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
    )


def keras_outputs(saved_model: Path, x: NDArray[Any], output: str = "") -> Outputs:
    """What the Keras model answers, by the SavedModel it was exported to.

    Args:
        saved_model: Folder with the signature that is converted.
        x: float32 `[samples, …]`, or structured with a field for each input of the signature.
        output: Name of the output, of a signature with several.
    """
    from litemill.models.backend import tensorflow

    tf = tensorflow()
    model = tf.saved_model.load(str(saved_model))
    served: Callable[..., Mapping[str, Any]] = model.signatures[SIGNATURE]
    inputs = model.signatures[SIGNATURE].structured_input_signature[1]
    fixed = next(iter(inputs.values())).shape[0]
    found = []
    for start in range(0, len(x), fixed or BATCH):
        part = x[start : start + (fixed or BATCH)]
        if fixed and len(part) < fixed:
            part = np.concatenate([part, np.repeat(part[-1:], fixed - len(part), axis=0)])
        fed = {name: part[name] if part.dtype.names else part for name in inputs}
        outputs = served(**{name: tf.cast(values, inputs[name].dtype) for name, values in fed.items()})
        judged = parts_of(output, list(outputs)) if output else [next(iter(outputs))]
        found.append(side_by_side([outputs[name].numpy() for name in judged]))
    return np.concatenate(found)[: len(x)].astype(np.float32)
