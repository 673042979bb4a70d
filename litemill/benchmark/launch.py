"""Start one of our programs in a process of its own and bring back its `result.json`; a crash or a hang is an error."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from litemill.errors import StepFailed

GRACE = 5.0
"""Seconds after which a process that did not end itself is ended."""

DEVICE = Path(__file__).with_name("device")
"""Folder of the programs: all of ours that they see, so that nothing shadows the standard library."""


LOGGED = re.compile(r"\s*(INFO|WARNING|VERBOSE)\b|[IW]\d{4} ")
EXCEPTION = re.compile(r"[A-Za-z_.]*(Error|Exception)\b")
LONGEST = 500
"""Characters of a reason."""


def run_program(program: str, job: dict[str, Any], out: Path, time_limit: float) -> dict[str, Any]:
    """Run a program that reads a job and writes `result.json` into its `out` folder.

    Args:
        program: Module in `DEVICE`; it gets the path of the job as its only argument.
        job: Plain data; `out` is added.
        out: New folder for the job and its results.
        time_limit: Seconds.

    Raises:
        StepFailed: The process crashed, hung or refused; its last words are in the message.
    """
    out.mkdir(parents=True)
    (out / "job.json").write_text(json.dumps(job | {"out": str(out), "time_limit": time_limit}))
    try:
        # -P: the current folder may hold a numpy.py
        done = subprocess.run(
            [sys.executable, "-P", "-m", program, str(out / "job.json")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=time_limit + GRACE,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"the runner took more than {time_limit:g} s and was ended") from None
    if done.returncode == -signal.SIGALRM:
        raise StepFailed(f"the runner took more than {time_limit:g} s and was ended")
    if done.returncode != 0:
        raise StepFailed(death(done.returncode, done.stderr))
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


def death(code: int, stderr: bytes) -> str:
    """Say how a runner ended, with the exception it raised or its last line."""
    output = f": {last_line(stderr.decode(errors='replace'))}"
    if code < 0:
        return f"the runner was killed by {signal.Signals(-code).name}{output}"
    return f"the runner ended with exit code {code}{output}"


def last_line(text: str) -> str:
    """The Python exception in what a process wrote, else its last line; LiteRT's own logging is left out."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not LOGGED.match(line)]
    raised = next((at for at in reversed(range(len(lines))) if EXCEPTION.match(lines[at])), None)
    if raised is not None:
        return " ".join(lines[raised:])[:LONGEST]
    return lines[-1][:LONGEST] if lines else "it printed nothing"


def _environment() -> dict[str, str]:
    """The environment with our programs on the path and without what would start threads beside the measurement."""
    paths = [str(DEVICE), os.environ.get("PYTHONPATH", "")]
    libraries = [*_openvino(), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _openvino() -> list[str]:
    """Folder of OpenVINO's libraries where it is installed: LiteRT's plug-in for Intel NPUs links to them by name."""
    found = importlib.util.find_spec("openvino")
    return [str(Path(found.origin).parent / "libs")] if found and found.origin else []
