"""The `tflm` target: does a microcontroller's interpreter run the model, rightly, and in how much memory?"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.layout import TFLITE, TFLM_TFLITE
from litemill.benchmark.launch import run_program
from litemill.benchmark.parity import compare_outputs, wrong_answer
from litemill.benchmark.python_runner import Entry, lay_out, reference_outputs
from litemill.benchmark.session import Subject, failed
from litemill.config.target_specs import TargetSpec
from litemill.errors import DeviceError, StepFailed
from litemill.evidence.outcome import Measurement

SECONDS = 300.0
TOLERANCE = 0.01
"""Of the outputs' spread. TFLM equals LiteRT's reference kernels bit for bit in general."""


class TflmTarget:
    """TensorFlow Lite for Microcontrollers, built for this machine: memory and answers, no latency."""

    def __init__(self, spec: TargetSpec) -> None:
        self.spec = spec

    def facts(self) -> dict[str, Any]:
        """See `Target.facts`."""
        if importlib.util.find_spec("tflite_micro") is None:
            raise DeviceError("tflite-micro is not installed", fix="Install litemill[devices]")
        return {"runtime": "tflite-micro", "version": version("tflite-micro")}

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`."""
        facts, found = self.facts(), {}
        with tempfile.TemporaryDirectory(prefix="litemill-tflm-") as name:
            for subject in subjects:
                try:
                    found[subject.sha256] = _measurement(
                        subject, lay_out(subject, samples, Path(name)), Path(name), facts
                    )
                except StepFailed as error:
                    found[subject.sha256] = failed(str(error), requested_accelerator="cpu")
        return found


def _measurement(subject: Subject, entry: Entry, folder: Path, facts: dict[str, Any]) -> Measurement:
    out = folder / f"tflm-{subject.sha256}"
    job = {"model": entry.path, "inputs": entry.inputs, "output": entry.output}
    if subject.tables:
        job["tables"] = str(subject.tables.resolve())
    result = run_program("litemill_micro", job, out, SECONDS)
    if "refused" in result:
        raise StepFailed(f"TFLM refuses it: {result['refused']}")
    found = Measurement(
        recipe="",
        target="",
        sha256=subject.sha256,
        requested_accelerator="cpu",
        actual_accelerator="cpu",
        device=facts,
        **_costs(subject, result),
    )
    outputs = subject.real(np.load(out / "outputs.npy", allow_pickle=False))
    try:
        expected = reference_outputs(subject, entry, "cpu-reference", folder)
    except StepFailed as error:  # an op of TFLM's own: its outputs have nothing to be compared with
        found.details = {"outputs_not_compared": f"LiteRT does not run it: {error}", "arena_pointer_bits": 64}
        return found
    parity = compare_outputs(
        outputs,
        expected,
        reference="LiteRT reference kernels",
        tolerance=TOLERANCE,
        step=subject.output.scale,
        decide=subject.decide,
    )
    found.status, found.reason, found.parity = "ok" if parity.ok else "failed", wrong_answer(parity), parity
    found.details = {"bit_exact": bool(np.array_equal(outputs, expected)), "arena_pointer_bits": 64}
    return found


def _costs(subject: Subject, result: dict[str, Any]) -> dict[str, Any]:
    """Bytes that are stored and the arena: those of the file with look-up tables where there is one.

    Raises:
        StepFailed: That file does not run, or computes something else.
    """
    plain = {"realised_bytes": subject.size_bytes, "arena_bytes": result["arena_bytes"]}
    if subject.tables is None:
        return plain
    tables = result["tables"]
    if "refused" in tables:
        raise StepFailed(f"TFLM refuses {TFLM_TFLITE}: {tables['refused']}")
    if not tables["equal"]:
        raise StepFailed(f"{TFLM_TFLITE} answers otherwise than {TFLITE}")
    return {
        "realised_bytes": subject.tables.stat().st_size,
        "arena_bytes": tables["arena_bytes"],
        "plain_bytes": plain["realised_bytes"],
        "plain_arena_bytes": plain["arena_bytes"],
    }
