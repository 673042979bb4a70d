"""Start one of our scripts in a process of its own and bring back its `result.json`; a crash or a hang is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from litemill.errors import StepFailed


def run_script(script: Path, job: dict[str, Any], out: Path, time_limit: float) -> dict[str, Any]:
    """Run a script that reads a job and writes `result.json` into its `out` folder.

    Args:
        script: File of this package; it gets the path of the job as its only argument.
        job: Plain data; `out` is added.
        out: New folder for the job and its results.
        time_limit: Seconds.

    Raises:
        StepFailed: The process crashed, hung or refused; its last words are in the message.
    """
    out.mkdir(parents=True)
    (out / "job.json").write_text(json.dumps(job | {"out": str(out)}))
    try:
        # -P: neither the script's folder nor the current one may shadow the standard library
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(out / "job.json")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=time_limit,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"the runner took more than {time_limit:g} s and was ended") from None
    if done.returncode != 0:
        raise StepFailed(death(done.returncode, done.stderr))
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


def death(code: int, stderr: bytes) -> str:
    """Say how a runner ended, with its last line."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    if code < 0:
        return f"the runner was killed by {signal.Signals(-code).name}: {last}"
    return f"the runner ended with exit code {code}: {last}"


def _environment() -> dict[str, str]:
    """The environment without what would start threads beside the measurement."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
