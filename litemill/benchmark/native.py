"""Targets that run Google's `benchmark_model` on a device with a shell: interleaved rounds, parity of outputs."""

from __future__ import annotations

import random
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import sha256_of
from litemill.benchmark import benchmark_model as tool
from litemill.benchmark.benchmark_model import Timings
from litemill.benchmark.parity import compare_outputs, wrong_answer
from litemill.benchmark.python_runner import lay_out, reference_outputs
from litemill.benchmark.remote import Remote, run_locked, shell_facts, shell_state
from litemill.benchmark.session import ACCELERATOR_TOLERANCE, Subject, failed
from litemill.benchmark.statistics import compare, percentile, ratio_of_medians
from litemill.config.target_specs import ON_DEVICE, RemoteSpec
from litemill.errors import DeviceError, StepFailed
from litemill.evidence.outcome import Measurement, Parity

ROUNDS = 8
PATIENCE = 4
"""A run whose model is too slow for its seconds ends at this multiple of them."""


class NativeTarget:
    """The user's `benchmark_model` on a device: pushed, or the one that is there.

    It gives no single samples, so each of its runs counts as one block, and a round runs it once for each model.
    """

    def __init__(self, spec: RemoteSpec, remote: Remote) -> None:
        self.spec, self.remote = spec, remote
        self._binary = ""

    def facts(self) -> dict[str, Any]:
        """See `Target.facts`."""
        with self.remote as device:
            self._find_binary(device)
            return dict(shell_facts(device))

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`."""
        found: dict[str, Measurement] = {}
        with tempfile.TemporaryDirectory(prefix="litemill-native-") as name, self.remote as device:
            self._binary = self._find_binary(device)
            facts, before = shell_facts(device), shell_state(device)
            parities: dict[str, Parity] = {}
            peaks: dict[str, int | None] = {}
            for subject in subjects:
                key = subject.sha256
                try:
                    parities[key] = self._parity(device, subject, samples, Path(name))
                    peaks[key] = self._peak_memory(device, subject, Path(name))
                except StepFailed as error:
                    found[key] = self._failed(str(error))
            alive = [subject for subject in subjects if subject.sha256 not in found]
            rounds = self._rounds(device, alive, found, Path(name))
            state = {"before": before, "after": shell_state(device)}
        for subject in alive:
            key = subject.sha256
            if key not in found:
                one = self._measurement(subject, rounds[key], rounds.get(subjects[0].sha256), parities[key])
                message = {**facts, "threads": self.spec.threads, "runner": "benchmark_model", "state": state}
                found[key] = one.model_copy(update={"peak_memory_bytes": peaks[key], "device": message})
        return found

    def _find_binary(self, device: Remote) -> str:
        """The binary's path on the device: pushed there, unless the config says that it is there."""
        if self.spec.benchmark_model.startswith(ON_DEVICE):
            there = self.spec.benchmark_model.removeprefix(ON_DEVICE)
            if device.shell(f"test -x {shlex.quote(there)}")[0] != 0:
                raise DeviceError(f"there is no program {there!r} on it", where=device.device)
            return there
        binary = Path(self.spec.benchmark_model)
        if not binary.is_file():
            raise DeviceError(f"there is no benchmark_model at {binary}", where=self.spec.name)
        return device.push(binary, sha256_of(binary), executable=True)

    def _rounds(
        self, device: Remote, alive: Sequence[Subject], found: dict[str, Measurement], folder: Path
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

    def _time(self, device: Remote, subject: Subject, folder: Path) -> Timings:
        return self._run(device, subject, tool.timing_flags(self.spec.seconds / ROUNDS, PATIENCE), folder)

    def _peak_memory(self, device: Remote, subject: Subject, folder: Path) -> int | None:
        """In a run of its own: the thread that watches it would be in the way of the timed ones."""
        return self._run(device, subject, tool.memory_flags(), folder).peak_memory_bytes

    def _run(self, device: Remote, subject: Subject, more: list[str], folder: Path) -> Timings:
        """Run the binary and read what it found.

        Raises:
            StepFailed: It failed, printed no timings, or ran on something else than what was asked for.
        """
        result = f"{device.folder}/result.pb"
        output = self._start(device, subject, [*more, f"--result_file_path={result}"], clear=result)
        if self.spec.accelerator != "cpu" and tool.delegated(output) != "all":
            raise StepFailed(f"{self.spec.accelerator} took {tool.delegated(output)} of its ops, not all")
        timings = None
        if device.shell(f"test -s {result}")[0] == 0:
            timings = tool.read_result(device.pull("result.pb", folder / "result.pb").read_bytes())
        timings = timings or tool.read_line(output)
        if timings is None:
            raise StepFailed("benchmark_model printed no timings")
        return timings

    def _start(self, device: Remote, subject: Subject, more: list[str], clear: str) -> str:
        """Run the binary on a model; what it printed.

        Raises:
            StepFailed: It ended with an error, or hung and was ended.
            DeviceError: Another session holds the device.
        """
        graph = device.push(subject.path, f"{subject.sha256}.tflite")
        words = [self._binary, f"--graph={graph}", *tool.flags(self.spec.accelerator, self.spec.threads), *more]
        device.check(f"rm -f {clear}")
        code, output = run_locked(device, words, self.spec.timeout, self.spec.timeout)
        if tool.REFUSED in output:
            raise StepFailed(f"{self.spec.accelerator} does not take all of its ops")
        if code != 0:
            how = f"was killed by {Signals(code - 128).name}" if code > 128 else f"ended with exit code {code}"
            raise StepFailed(f"benchmark_model {how}: {tool.cause(output)}")
        return output

    def _parity(self, device: Remote, subject: Subject, samples: NDArray[np.float32], folder: Path) -> Parity:
        """Outputs for real samples, one run of the binary each.

        Raises:
            StepFailed: The binary gives none: its speed would mean nothing.
        """
        raw, outputs = subject.raw(samples), []
        parts = [raw[name] for name in raw.dtype.names] if raw.dtype.names else [raw]
        answer = f"{device.folder}/output.bin"
        for position in range(len(raw)):
            given = []
            for index, part in enumerate(parts):
                (folder / "input.bin").write_bytes(part[position].tobytes())
                pushed = device.push(folder / "input.bin", f"{subject.sha256}-{position}-{index}.bin")
                given.append((part[:1].shape, pushed))
            self._start(device, subject, tool.answer_flags(given, answer), clear=answer)
            if device.shell(f"test -s {answer}")[0] != 0:
                raise StepFailed(
                    "this benchmark_model writes no outputs (--output_filepath), so they cannot be checked"
                )
            content = device.pull("output.bin", folder / "output.bin").read_bytes()
            outputs.append(_output(content, subject))
        expected = reference_outputs(subject, lay_out(subject, samples, folder), "cpu", folder)
        loose = self.spec.accelerator != "cpu"
        tolerance = max(subject.tolerance, ACCELERATOR_TOLERANCE) if loose else subject.tolerance
        real = subject.real(np.concatenate(outputs))
        step = subject.output.scale
        return compare_outputs(
            real, expected, reference="LiteRT with XNNPACK", tolerance=tolerance, step=step, decide=subject.decide
        )

    def _failed(self, reason: str) -> Measurement:
        return failed(reason, requested_accelerator=self.spec.accelerator)

    def _measurement(
        self, subject: Subject, runs: list[Timings], baseline: list[Timings] | None, parity: Parity
    ) -> Measurement:
        own = _samples(runs)
        ratio = ratio_of_medians(own, _samples(baseline)) if baseline else None
        middle = percentile(own, 50)
        # an older binary without a result file tells averages only, and a mean is no median
        name = "p50" if all(one.median is not None for one in runs) else "mean"
        return Measurement(
            recipe="",
            target="",
            status="ok" if parity.ok else "failed",
            reason=wrong_answer(parity),
            kind="emulated" if self.spec.emulates else "measured",
            sha256=subject.sha256,
            requested_accelerator=self.spec.accelerator,
            actual_accelerator=self.spec.accelerator,
            delegated_fraction=None if self.spec.accelerator == "cpu" else 1.0,
            runs=sum(one.runs for one in runs),
            latency_ms={name: middle.value},
            latency_ci_ms={name: middle.ci},
            init_ms=float(np.median([one.init for one in runs])),
            first_inference_ms=float(np.median([one.first for one in runs])),
            ratio_to_float32=ratio,
            comparison=compare(ratio) if ratio else "",
            realised_bytes=subject.size_bytes,
            parity=parity,
            details={"rounds": len(runs)},
        )


def _output(content: bytes, subject: Subject) -> NDArray[Any]:
    """The judged output tensor of a file that holds all of them, one after the other: `[1, …]`.

    Raises:
        StepFailed: It is shorter than that.
    """
    shape = (1, *subject.output.shape[1:])
    count = int(np.prod(shape))
    before = subject.outputs[: subject.judged]
    start = sum(int(np.prod(info.shape[1:])) * np.dtype(info.dtype).itemsize for info in before)
    if len(content) < start + count * np.dtype(subject.output.dtype).itemsize:
        raise StepFailed(f"benchmark_model wrote {len(content)} bytes of output, which is less than {shape} takes")
    return np.frombuffer(content, dtype=subject.output.dtype, count=count, offset=start).reshape(shape)


def _samples(runs: list[Timings]) -> NDArray[np.float64]:
    """Each run of the binary as an episode of one call: its median, or its average where there is no median."""
    times = [one.mean if one.median is None else one.median for one in runs]
    return np.asarray(times, dtype=np.float64).reshape(-1, 1, 1)
