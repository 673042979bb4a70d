"""Run jobs that may crash natively in one worker subprocess: a segfault or a hang costs only the job it hit.

The parent calls `run_isolated`; the worker is a module whose main calls `serve` with a handler. Jobs travel as
JSON, results as what the handler writes; a journal in the work folder tells which job the worker was on when it
died. The worker sets an alarm before each job, and the kernel ends it even inside native code.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from litemill.errors import LitemillError, StepFailed, first_line

log = logging.getLogger(__name__)

Job = dict[str, Any]
"""A job: plain data with a unique `name`."""


class Outcome(NamedTuple):
    """How a job ended: the reason it failed, or nothing, and the seconds it took."""

    reason: str
    seconds: float


JOBS, JOURNAL = "jobs.json", "journal"
LAST_LINE = 2
"""How many lines of a dead worker's stderr go into the reason."""


def run_isolated(module: str, jobs: Sequence[Job], *, time_limit: float) -> dict[str, Outcome]:
    """Run `python -m module` over the jobs, starting it again behind every job it died on.

    Args:
        module: A module whose main calls `serve`.
        jobs: Plain data, each with a unique `name`; done in order.
        time_limit: Seconds that one job may take, the worker's start included for the first.

    Returns:
        How each job ended, by name.

    Raises:
        LitemillError: The worker ended without an error but left jobs undone, or cannot start at all.
    """
    ended: dict[str, Outcome] = {}
    waiting = list(jobs)
    while waiting:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
            code, words = _run_worker(module, waiting, time_limit, Path(folder))
            done = _read_journal(Path(folder) / JOURNAL)
        ended |= done
        waiting = [job for job in waiting if job["name"] not in done]
        if waiting and code == 0:
            raise LitemillError(f"the worker ended early, before {waiting[0]['name']!r}", where=module)
        if waiting:
            name = waiting.pop(0)["name"]
            spent = time.monotonic() - started - sum(outcome.seconds for outcome in done.values())
            ended[name] = Outcome(_death(code, words, time_limit), spent)
            log.warning("%s: %s: %s", module, name, ended[name].reason)
    return ended


def serve(handler: Callable[[Job], None]) -> None:
    """Do the jobs named on the command line, one after the other; the worker's side of `run_isolated`.

    A `LitemillError` from the handler fails its job with that message; any other exception is a bug or a
    refusal of a library, and fails it with the exception's type and first line.
    """
    faulthandler.enable(all_threads=False)
    folder = Path(sys.argv[1])
    order = json.loads((folder / JOBS).read_text())
    with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
        for job in order["jobs"]:
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, order["time_limit"])
            reason = _attempt(handler, job)
            signal.setitimer(signal.ITIMER_REAL, 0)
            line = {"name": job["name"], "reason": reason, "seconds": time.monotonic() - started}
            journal.write(json.dumps(line) + "\n")
            journal.flush()


def _attempt(handler: Callable[[Job], None], job: Job) -> str:
    """Do one job; return the reason it failed, or nothing."""
    try:
        handler(job)
    except LitemillError as error:
        if not isinstance(error, StepFailed):
            log.warning("%s: %s", job["name"], error)
        return str(error)
    except Exception as error:
        log.exception("%s failed", job["name"])
        first, kind = first_line(error), type(error).__name__
        return first if first == kind else f"{kind}: {first}"
    return ""


def _run_worker(module: str, jobs: Sequence[Job], time_limit: float, folder: Path) -> tuple[int, list[str]]:
    """Run the worker once over the jobs; its exit code and the lines it wrote to stderr."""
    (folder / JOBS).write_text(json.dumps({"jobs": list(jobs), "time_limit": time_limit}))
    (folder / JOURNAL).touch()
    words = folder / "stderr"
    with words.open("wb") as stderr:
        code = subprocess.run(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
        ).returncode
    lines = words.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        log.debug("%s: %s", module, line)
    return code, [line.strip() for line in lines if line.strip()]


def _read_journal(path: Path) -> dict[str, Outcome]:
    """How every job ended that the worker finished, by name."""
    outcomes = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}"))
    return {line["name"]: Outcome(line["reason"], line["seconds"]) for line in outcomes}


def _death(code: int, words: list[str], time_limit: float) -> str:
    """Say how the worker died and its last words, without the Python traceback of a native crash."""
    if code == -signal.SIGALRM:
        return f"took more than {time_limit:g} s and was ended"
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    stop = next((at for at, line in enumerate(words) if line.startswith("Fatal Python error")), len(words))
    output = [*words[:stop][-LAST_LINE:], *words[stop : stop + 1]]
    return f"the worker process was {how}; its last words: {' | '.join(output) or 'none'}"
