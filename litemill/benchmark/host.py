"""The `host` target: LiteRT on this machine, each session in a process with no other Python thread."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.benchmark.parity import compare_outputs
from litemill.benchmark.python_runner import PROBE_SECONDS, Entry, RunnerOptions, lay_out, read_outputs, run_local
from litemill.benchmark.session import Subject, failed
from litemill.benchmark.statistics import Samples, compare, percentile, percentiles, ratio_of_medians
from litemill.errors import StepFailed
from litemill.evidence import Measurement
from litemill.targets import TargetSpec


class HostTarget:
    """LiteRT in subprocesses of this machine.

    A probe process for each model comes first: it gives a cold start and a peak memory of the model's own, and a model
    that crashes takes nobody along. Those that live are then timed together, interleaved with the baseline.
    """

    def __init__(self, spec: TargetSpec) -> None:
        self.options = RunnerOptions(accelerator=spec.accelerator, threads=spec.threads, seconds=spec.seconds)

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`."""
        with tempfile.TemporaryDirectory(prefix="litemill-host-") as name:
            folder = Path(name)
            entries = {subject.sha256: lay_out(subject, samples, folder) for subject in subjects}
            probes, found = self._probe(entries, folder)
            alive = [subject for subject in subjects if subject.sha256 in probes]
            if not alive:
                return found
            try:
                timed = self._time([entries[subject.sha256] for subject in alive], folder)
            except StepFailed as error:
                return found | {subject.sha256: failed(str(error)) for subject in alive}
            times = {key: np.asarray(lists, dtype=np.float64) for key, lists in timed["samples_ms"].items()}
            for subject in alive:
                found[subject.sha256] = self._measurement(
                    subject, probes[subject.sha256], timed, times, times.get(subjects[0].sha256), folder
                )
        return found

    def _probe(
        self, entries: dict[str, Entry], folder: Path
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Measurement]]:
        """What each model's own process found, and a failed measurement for each that did not live."""
        probes, dead = {}, {}
        for key, entry in entries.items():
            try:
                probes[key] = run_local("probe", [entry], self.options, folder / f"probe-{key}", PROBE_SECONDS)
            except StepFailed as error:
                dead[key] = failed(str(error), requested_accelerator=self.options.accelerator)
        return probes, dead

    def _time(self, entries: list[Entry], folder: Path) -> dict[str, Any]:
        time_limit = PROBE_SECONDS + 10 * len(entries) * (self.options.seconds + self.options.warmup_seconds)
        return run_local("latency", entries, self.options, folder / "timed", time_limit)

    def _measurement(
        self,
        subject: Subject,
        probe: dict[str, Any],
        timed: dict[str, Any],
        times: dict[str, Samples],
        baseline: Samples | None,
        folder: Path,
    ) -> Measurement:
        key, own = subject.sha256, times[subject.sha256]
        intervals = {f"p{q}": percentile(own, q) for q in percentiles(own.size)}
        ratio = ratio_of_medians(own, baseline) if baseline is not None else None
        parity = compare_outputs(
            subject.real(read_outputs(folder / "timed", key)),
            subject.real(read_outputs(folder / f"probe-{key}", key)),
            reference=f"{self.options.accelerator}, fresh process",
            tolerance=subject.tolerance,
        )
        ops = probe["ops"]
        return Measurement(
            recipe="",
            target="",
            status="ok" if parity.ok else "failed",
            reason="" if parity.ok else f"outputs differ by {parity.max_error:.2g} of their spread",
            sha256=key,
            requested_accelerator=self.options.accelerator,
            actual_accelerator=self.options.accelerator,
            delegated_fraction=ops["delegated"] / ops["total"] if ops["total"] else None,
            runs=int(own.size),
            latency_ms={name: found.value for name, found in intervals.items()},
            latency_ci_ms={name: found.ci for name, found in intervals.items()},
            init_ms=probe["init_ms"],
            first_inference_ms=probe["first_inference_ms"],
            ratio_to_float32=ratio,
            comparison=compare(ratio) if ratio else "",
            peak_memory_bytes=probe["peak_memory_bytes"],
            realised_bytes=subject.size_bytes,
            parity=parity,
            device=timed["device"] | {"threads": self.options.threads, "state": timed["state"]},
            details={
                "episodes": len(own),
                "rounds": own.shape[0] * own.shape[1],
                "memory_before_load_bytes": probe["memory_before_load_bytes"],
                "ops": ops["total"],
                "delegated_ops": ops["delegated"],
                **({"baseline_p50_ms": float(np.median(baseline))} if baseline is not None else {}),
            },
        )
