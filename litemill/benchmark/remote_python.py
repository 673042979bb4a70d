"""The Python runner on a device with a shell: the transport of `ssh://` and, where it has a Python, of `adb://`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from litemill.benchmark.launch import DEVICE, GRACE, death, last_line
from litemill.benchmark.python_runner import Entry, RunnerOptions
from litemill.benchmark.remote import Remote, run_locked
from litemill.config.target_specs import RemoteSpec
from litemill.errors import DeviceError, StepFailed

TIMED_OUT = 128 + 14
"""A shell's exit code for a program ended by SIGALRM, which the runner sets on itself."""
PACKAGE = "litemill_runner"


class RemotePython:
    """Our runner, pushed to a device that has Python, numpy and ai-edge-litert.

    Files are named by their sha256 there: no name needs quoting and no stale model can be run.
    """

    local = False

    def __init__(self, spec: RemoteSpec, remote: Remote) -> None:
        self.spec, self.remote = spec, remote

    def __enter__(self) -> RemotePython:
        self.remote.__enter__()
        try:
            self.remote.check(f"mkdir {self.remote.folder}/{PACKAGE}")
            for module in sorted((DEVICE / PACKAGE).glob("*.py")):
                self.remote.push(module, f"{PACKAGE}/{module.name}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remote.__exit__(kind, error, trace)

    def run(
        self, mode: str, entries: list[Entry], options: RunnerOptions, out: Path, time_limit: float
    ) -> dict[str, Any]:
        """See `Transport.run`."""
        out.mkdir(parents=True)
        # names within the session's folder, in which the runner is started
        models = [replace(entry, path=f"{entry.key}.tflite", inputs=f"{entry.key}.npy") for entry in entries]
        for entry, model in zip(entries, models, strict=True):
            self.remote.push(Path(entry.path), model.path)
            self.remote.push(Path(entry.inputs), model.inputs)
        job = asdict(options) | {"mode": mode, "models": [asdict(model) for model in models]}
        (out / "job.json").write_text(json.dumps(job | {"out": out.name, "time_limit": time_limit}))
        self.remote.push(out / "job.json", f"{out.name}.json")
        words = ["env", "OMP_NUM_THREADS=1", self.spec.python, "-m", PACKAGE, f"{out.name}.json"]
        code, output = run_locked(self.remote, words, time_limit + GRACE, self.spec.timeout)
        self._judge(code, output, time_limit)
        names = ["result.json", *(f"{model.key}.npy" for model in models)]
        for name in names:
            self.remote.pull(f"{out.name}/{name}", out / name)
        result: dict[str, Any] = json.loads((out / "result.json").read_text())
        return result

    def _judge(self, code: int, output: str, time_limit: float) -> None:
        """Tell a device that cannot run anything from a model that it cannot run."""
        if code == 0:
            return
        where = self.remote.device
        if code == TIMED_OUT:
            raise StepFailed(f"the runner took more than {time_limit:g} s and was ended")
        if code == 127:
            raise DeviceError(f"there is no {self.spec.python!r} on it", where=where, fix="Set the option python")
        if "ModuleNotFoundError" in output:
            missing = last_line(output).partition(": ")[2]
            raise DeviceError(missing, where=where, fix="The device needs numpy and ai-edge-litert")
        if "No space left on device" in output:
            raise DeviceError("its disk is full", where=where)
        raise StepFailed(death(128 - code if code > 128 else code, output.encode()))
