"""Targets that run LiteRT through our Python runner: this machine, or a device that a transport reaches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.benchmark.parity import compare_outputs, wrong_answer
from litemill.benchmark.python_runner import (
    PROBE_SECONDS,
    Entry,
    RunnerOptions,
    lay_out,
    read_outputs,
    reference_outputs,
)
from litemill.benchmark.session import ACCELERATOR_TOLERANCE, Subject, failed
from litemill.benchmark.statistics import Samples, compare, percentile, percentiles, ratio_of_medians
from litemill.benchmark.transport import LocalTransport, Transport
from litemill.config.target_specs import TimedSpec
from litemill.errors import StepFailed
from litemill.evidence.outcome import Measurement, Parity

SOFTWARE = "adapterType=CPU"
"""In the name of a GPU that is a program on the CPU, such as Mesa's llvmpipe."""


@dataclass(frozen=True)
class Found:
    """What a session found: by sha256, and for all of it."""

    probes: dict[str, dict[str, Any]]
    times: dict[str, Samples]
    session: dict[str, Any]
    folder: Path


def actual(accelerator: str, ops: dict[str, int]) -> str:
    """What computed: a delegate library may leave ops to the CPU, which is then named beside it."""
    partly = accelerator.startswith("delegate:") and ops["delegated"] < ops["total"]
    return f"{accelerator} and cpu" if partly else accelerator


class LiteRtTarget:
    """LiteRT in processes of their own.

    A probe process for each model comes first: it gives a cold start and a peak memory of the model's own, and a model
    that crashes takes nobody along. Those that live are then timed together, interleaved with the baseline.
    """

    def __init__(self, spec: TimedSpec, transport: Transport | None = None) -> None:
        self.spec, self.transport = spec, transport or LocalTransport()
        self.options = RunnerOptions(accelerator=spec.accelerator, threads=spec.threads, seconds=spec.seconds)

    def facts(self) -> dict[str, Any]:
        """See `Target.facts`."""
        with tempfile.TemporaryDirectory(prefix="litemill-facts-") as name, self.transport as device:
            found: dict[str, Any] = device.run("facts", [], self.options, Path(name) / "facts", PROBE_SECONDS)["device"]
        return found

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`."""
        with tempfile.TemporaryDirectory(prefix="litemill-session-") as name, self.transport as device:
            folder = Path(name)
            entries = {subject.sha256: lay_out(subject, samples, folder) for subject in subjects}
            probes, found = self._probe(device, entries, folder)
            alive = [subject for subject in subjects if subject.sha256 in probes]
            if not alive:
                return found
            try:
                session = self._time(device, [entries[subject.sha256] for subject in alive], folder)
            except StepFailed as error:
                return found | {subject.sha256: self._failed(str(error)) for subject in alive}
            times = {key: np.asarray(lists, dtype=np.float64) for key, lists in session["samples_ms"].items()}
            results = Found(probes, times, session, folder)
            for subject in alive:
                baseline = times.get(subjects[0].sha256)
                found[subject.sha256] = self._measurement(subject, results, baseline, entries[subject.sha256])
        return found

    def _probe(
        self, device: Transport, entries: dict[str, Entry], folder: Path
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Measurement]]:
        """What each model's own process found, and a failed measurement for each that did not live."""
        probes, dead = {}, {}
        for key, entry in entries.items():
            try:
                probes[key] = device.run("probe", [entry], self.options, folder / f"probe-{key}", PROBE_SECONDS)
            except StepFailed as error:
                dead[key] = self._failed(str(error))
        return probes, dead

    def _time(self, device: Transport, entries: list[Entry], folder: Path) -> dict[str, Any]:
        return device.run("latency", entries, self.options, folder / "timed", self.spec.timeout)

    def _failed(self, reason: str) -> Measurement:
        return failed(reason, requested_accelerator=self.options.accelerator)

    def _parity(self, subject: Subject, found: Found, entry: Entry) -> Parity:
        """Outputs of the model that was timed, against those of the same kernels in a fresh process on this machine."""
        accelerator, key = self.options.accelerator, subject.sha256
        kernels = "cpu-reference" if accelerator == "cpu-reference" else "cpu"
        if self.transport.local and accelerator == kernels and self.options.threads == 1:
            expected = subject.real(read_outputs(found.folder / f"probe-{key}", key))
        else:
            expected = reference_outputs(subject, entry, kernels, found.folder)
        outputs = subject.real(read_outputs(found.folder / "timed", key))
        own_kernels = accelerator in ("cpu", "cpu-reference")
        tolerance = subject.tolerance if own_kernels else max(subject.tolerance, ACCELERATOR_TOLERANCE)
        named = {"cpu": "LiteRT with XNNPACK", "cpu-reference": "LiteRT reference kernels"}[kernels]
        return compare_outputs(
            outputs, expected, reference=named, tolerance=tolerance, step=subject.output.scale, decide=subject.decide
        )

    def _measurement(self, subject: Subject, found: Found, baseline: Samples | None, entry: Entry) -> Measurement:
        probe, own = found.probes[subject.sha256], found.times[subject.sha256]
        try:
            parity = self._parity(subject, found, entry)
        except StepFailed as error:
            return self._failed(f"no reference to compare its outputs with: {error}")
        intervals = {f"p{q}": percentile(own, q) for q in percentiles(own.size)}
        ratio = ratio_of_medians(own, baseline) if baseline is not None else None
        ops = probe["ops"]
        return Measurement(
            recipe="",
            target="",
            status="ok" if parity.ok else "failed",
            reason=wrong_answer(parity),
            kind="emulated" if self.spec.emulates or SOFTWARE in probe["adapter"] else "measured",
            sha256=subject.sha256,
            requested_accelerator=self.options.accelerator,
            actual_accelerator=actual(self.options.accelerator, ops),
            delegated_fraction=ops["delegated"] / ops["total"] if ops["total"] else None,
            runs=int(own.size),
            latency_ms={name: interval.value for name, interval in intervals.items()},
            latency_ci_ms={name: interval.ci for name, interval in intervals.items()},
            init_ms=probe["init_ms"],
            first_inference_ms=probe["first_inference_ms"],
            ratio_to_float32=ratio,
            comparison=compare(ratio) if ratio else "",
            peak_memory_bytes=probe["peak_memory_bytes"],
            realised_bytes=subject.size_bytes,
            parity=parity,
            device=found.session["device"] | {"threads": self.options.threads, "state": found.session["state"]},
            details={
                "episodes": len(own),
                "rounds": own.shape[0] * own.shape[1],
                "memory_before_load_bytes": probe["memory_before_load_bytes"],
                "ops": ops["total"],
                "delegated_ops": ops["delegated"],
                **({"adapter": probe["adapter"]} if probe["adapter"] else {}),
                **({"baseline_p50_ms": float(np.median(baseline))} if baseline is not None else {}),
            },
        )
