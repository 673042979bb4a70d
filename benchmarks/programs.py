"""Run programs and measure them from outside: seconds by the clock, and the memory of a process and its children."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

EVERY = 0.02
"""Seconds between two looks at the memory."""
POLITE = 10.0
"""Seconds in which an interrupted program may end by itself."""
TAIL = 30
"""Lines of its output that the error of a failed program shows."""


class BenchmarkFailed(Exception):
    """Something that had to be measured did not run."""


class Run(NamedTuple):
    """What a program took."""

    seconds: float
    output: str
    peak_bytes: int
    """Largest sum over its processes, at a time, of memory that is their own; 0 where nobody looked."""


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    look_at_memory: bool = False,
    allowed: Sequence[int] = (0,),
) -> Run:
    """Run a program to its end.

    Args:
        command: Program and arguments.
        cwd: Where it runs.
        variables: Environment variables beside those of this process.
        look_at_memory: Whether its memory is measured while it runs.
        allowed: Exit codes of a run that went well.

    Raises:
        BenchmarkFailed: It ended with another exit code: with the last lines that it printed.
    """
    environment = {**os.environ, **(variables or {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    log = cwd / f".bench-{os.getpid()}-{time.monotonic_ns()}.log"
    peak = 0
    with log.open("w+", encoding="utf-8", errors="replace") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all that it started can be ended with it
        )
        try:
            while look_at_memory and process.poll() is None:
                peak = max(peak, own_bytes(process.pid))
                time.sleep(EVERY)
            code = process.wait()
        finally:
            if process.poll() is None:  # interrupted
                _end(process)
        seconds = time.perf_counter() - began
    text = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    if code not in allowed:
        last = "\n".join(text.splitlines()[-TAIL:])
        raise BenchmarkFailed(f"exit code {code} of {' '.join(map(str, command))}, in {cwd}\n{last}")
    return Run(seconds, text, peak)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it started: politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLITE)


def own_bytes(root: int) -> int:
    """Memory that a process and its children have for themselves: pages of mapped files, which the system takes back
    when it needs them, do not count, and what children share with the parent they were forked from counts once.
    """
    return sum(_private(pid) for pid in _family(root))


def _family(root: int) -> list[int]:
    found = [root]
    for pid in found:
        for task in _listed(Path(f"/proc/{pid}/task")):
            with suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _private(pid: int) -> int:
    """Anonymous memory, its share of what several processes have in common."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))
