"""The `adb://` target: `benchmark_model` on an Android device, in interleaved rounds, with parity of its outputs."""

from __future__ import annotations

import logging
import random
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts import sha256_of
from litemill.benchmark.adb import AdbDevice
from litemill.benchmark.benchmark_model import RUNS, WARMUP_RUNS, Timings, delegated, flags, read_line, read_result
from litemill.benchmark.parity import compare_outputs
from litemill.benchmark.python_runner import lay_out, reference_outputs
from litemill.benchmark.session import ACCELERATOR_TOLERANCE, Subject, failed
from litemill.benchmark.statistics import compare, percentile, ratio_of_medians
from litemill.errors import DeviceError, StepFailed
from litemill.evidence import Measurement, Parity
from litemill.targets import TargetSpec

log = logging.getLogger(__name__)

ROUNDS = 8


class AndroidTarget:
    """The user's `benchmark_model`, pushed to the device.

    It gives no single samples, so each of its runs counts as one block, and a round runs it once for each model.
    """

    def __init__(self, spec: TargetSpec) -> None:
        self.spec = spec

    def facts(self) -> dict[str, Any]:
        """See `Target.facts`."""
        with AdbDevice(self.spec.device) as device:
            return dict(device.facts())

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`."""
        binary = Path(self.spec.benchmark_model)
        if not binary.is_file():
            raise DeviceError(f"there is no benchmark_model at {binary}", where=self.spec.name)
        found: dict[str, Measurement] = {}
        with tempfile.TemporaryDirectory(prefix="litemill-adb-") as name, AdbDevice(self.spec.device) as device:
            facts = device.facts()
            self._binary = device.push(binary, sha256_of(binary), executable=True)
            parities: dict[str, Parity] = {}
            for subject in subjects:
                try:
                    parities[subject.sha256] = self._parity(device, subject, samples, Path(name))
                except StepFailed as error:
                    found[subject.sha256] = self._failed(str(error))
            alive = [subject for subject in subjects if subject.sha256 in parities]
            rounds = self._rounds(device, alive, found, Path(name))
        for subject in alive:
            if subject.sha256 not in found:
                baseline = rounds.get(subjects[0].sha256)
                found[subject.sha256] = self._measurement(
                    subject, rounds[subject.sha256], baseline, parities[subject.sha256], facts
                )
        return found

    def _rounds(
        self, device: AdbDevice, alive: Sequence[Subject], found: dict[str, Measurement], folder: Path
    ) -> dict[str, list[Timings]]:
        """One run of each model a round, in a new order each time; a model that fails leaves with its reason."""
        timings: dict[str, list[Timings]] = {subject.sha256: [] for subject in alive}
        shuffle = random.Random(0).shuffle  # noqa: S311
        for _ in range(ROUNDS):
            order = [subject for subject in alive if subject.sha256 not in found]
            shuffle(order)
            for subject in order:
                try:
                    timings[subject.sha256].append(self._time(device, subject, folder))
                except StepFailed as error:
                    found[subject.sha256] = self._failed(str(error))
        return {key: runs for key, runs in timings.items() if key not in found}

    def _time(self, device: AdbDevice, subject: Subject, folder: Path) -> Timings:
        output = self._run(device, subject, [f"--warmup_runs={WARMUP_RUNS}", f"--num_runs={RUNS}"], result="result.pb")
        if self.spec.accelerator != "cpu" and delegated(output) != "all":
            raise StepFailed(f"{self.spec.accelerator} took {delegated(output)} of its ops, not all")
        timings = None
        code, _ = device.shell(f"test -s {device.folder}/result.pb")
        if code == 0:
            timings = read_result(device.pull("result.pb", folder / "result.pb").read_bytes())
        timings = timings or read_line(output)
        if timings is None:
            raise StepFailed("benchmark_model told no timings")
        return timings

    def _run(self, device: AdbDevice, subject: Subject, more: list[str], result: str = "") -> str:
        """Run the binary on a model.

        Raises:
            StepFailed: It ended with an error.
        """
        graph = device.push(subject.path, f"{subject.sha256}.tflite")
        words = [self._binary, f"--graph={graph}", *flags(self.spec.accelerator, self.spec.threads), *more]
        if result:
            words.append(f"--result_file_path={device.folder}/{result}")
        before = f"rm -f {device.folder}/{result or 'none'}; "
        code, output = device.shell(before + shlex.join(words), self.spec.timeout)
        if code != 0:
            lines = [line.strip() for line in output.splitlines() if line.strip()]
            raise StepFailed(
                f"benchmark_model ended with exit code {code}: {lines[-1] if lines else 'it said nothing'}"
            )
        return output

    def _parity(self, device: AdbDevice, subject: Subject, samples: NDArray[np.float32], folder: Path) -> Parity:
        """Outputs for real samples, one run of the binary each.

        Raises:
            StepFailed: The binary gives none: its speed would mean nothing.
        """
        raw, outputs = subject.raw(samples), []
        shape = ",".join(str(size) for size in raw[:1].shape)
        for position in range(len(raw)):
            (folder / "input.bin").write_bytes(raw[position].tobytes())
            given = device.push(folder / "input.bin", f"{subject.sha256}-{position}.bin")
            words = ["--num_runs=1", "--warmup_runs=0", "--input_layer=input", f"--input_layer_shape={shape}"]
            words += [f"--input_layer_value_files=input:{given}", f"--output_filepath={device.folder}/output.bin"]
            self._run(device, subject, words, result="")
            if device.shell(f"test -s {device.folder}/output.bin")[0] != 0:
                raise StepFailed(
                    "this benchmark_model writes no outputs (--output_filepath), so they cannot be checked"
                )
            content = device.pull("output.bin", folder / "output.bin").read_bytes()
            device.check(f"rm -f {device.folder}/output.bin")
            outputs.append(np.frombuffer(content, dtype=subject.output.dtype).reshape(1, *subject.output.shape[1:]))
        expected = reference_outputs(subject, lay_out(subject, samples, folder), "cpu", folder)
        loose = self.spec.accelerator != "cpu"
        tolerance = max(subject.tolerance, ACCELERATOR_TOLERANCE) if loose else subject.tolerance
        real = subject.real(np.concatenate(outputs))
        parity = compare_outputs(real, expected, reference="LiteRT with XNNPACK", tolerance=tolerance)
        if not parity.ok:
            log.info("%s: outputs differ by %.2g of their spread", self.spec.name, parity.max_error)
        return parity

    def _failed(self, reason: str) -> Measurement:
        return failed(reason, requested_accelerator=self.spec.accelerator)

    def _measurement(
        self,
        subject: Subject,
        runs: list[Timings],
        baseline: list[Timings] | None,
        parity: Parity,
        facts: dict[str, str],
    ) -> Measurement:
        own = _samples(runs)
        ratio = ratio_of_medians(own, _samples(baseline)) if baseline else None
        middle = percentile(own, 50)
        # without the result file there are averages only, and a mean is no median
        name = "p50" if all(one.median is not None for one in runs) else "mean"
        return Measurement(
            recipe="",
            target="",
            status="ok" if parity.ok else "failed",
            reason="" if parity.ok else f"outputs differ by {parity.max_error:.2g} of their spread",
            kind="emulated" if self.spec.emulates else "measured",
            sha256=subject.sha256,
            requested_accelerator=self.spec.accelerator,
            actual_accelerator=self.spec.accelerator,
            delegated_fraction=None if self.spec.accelerator == "cpu" else 1.0,
            runs=len(runs) * RUNS,
            latency_ms={name: middle.value},
            latency_ci_ms={name: middle.ci},
            init_ms=float(np.median([one.init for one in runs])),
            first_inference_ms=float(np.median([one.first for one in runs])),
            ratio_to_float32=ratio,
            comparison=compare(ratio) if ratio else "",
            peak_memory_bytes=max((one.peak_memory_bytes or 0 for one in runs), default=0) or None,
            realised_bytes=subject.size_bytes,
            parity=parity,
            device={**facts, "threads": self.spec.threads, "runner": "benchmark_model"},
            details={"rounds": len(runs)},
        )


def _samples(runs: list[Timings]) -> NDArray[np.float64]:
    """Each run of the binary as an episode of one call: its median, or its average where there is no median."""
    times = [one.mean if one.median is None else one.median for one in runs]
    return np.asarray(times, dtype=np.float64).reshape(-1, 1, 1)
