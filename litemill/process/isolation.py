"""Run jobs that may crash natively in one worker subprocess: a segfault or a hang costs only the job it hit.

The parent calls `run_isolated`; the worker is a module whose main calls `serve` with a handler. Jobs travel as
JSON, results as what the handler writes; a journal in the work folder tells which job the worker was on when it
died. The worker sets an alarm before each job, and the kernel ends it even inside native code. It also ends with its
parent: a task that is killed leaves no worker behind.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from litemill.errors import LitemillError, StepFailed, first_line, own_fault
from litemill.process.forks import end_with_starter, start_module

log = logging.getLogger(__name__)

Job = dict[str, Any]
"""A job: plain data with a unique `name`."""

DIED = "died"
"""Cause of a job whose worker died: a native crash, a lack of memory, a kill."""
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Signals by which native code ends a process that it has broken."""

OUT_OF_MEMORY = frozenset({"MemoryError", "ResourceExhaustedError"})
"""Exceptions of Python and of TensorFlow."""


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        reason: Why it failed, or nothing.
        seconds: It took.
        cause: Type of the exception that failed it, such as `InputError`; `died` where its worker did; or nothing.
        signal: That ended the worker; 0 where none did.
    """

    reason: str
    seconds: float
    cause: str = ""
    signal: int = 0

    @property
    def crashed(self) -> bool:
        """Whether native code broke the worker."""
        return self.signal in CRASHES

    @property
    def passes(self) -> bool:
        """Whether the machine failed it, by a lack of memory or of time: the next try may work."""
        return self.signal in (signal.SIGKILL, signal.SIGALRM) or self.cause in OUT_OF_MEMORY

    @property
    def killed(self) -> bool:
        """Whether it was killed without being asked, as the kernel does where memory runs out."""
        return self.signal == signal.SIGKILL


JOBS, JOURNAL = "jobs.json", "journal"
LAST_LINE = 2
"""How many lines of a dead worker's output go into the reason."""
RELAY_SECONDS = 0.2
"""Between two looks at what a worker has printed."""


def run_isolated(
    module: str,
    jobs: Sequence[Job],
    *,
    time_limit: float | None,
    environment: Mapping[str, str] | None = None,
    relay: bool = False,
) -> dict[str, Outcome]:
    """Run `python -m module` over the jobs, starting it again behind every job it died on.

    Args:
        module: A module whose main calls `serve`.
        jobs: Plain data, each with a unique `name`; done in order.
        time_limit: Seconds that one job may take, the worker's start included for the first; None for no limit.
        environment: Variables that the worker gets in addition to this process's.
        relay: Whether what the worker prints goes on to this process's stderr while it runs.

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
            order = {"jobs": waiting, "time_limit": time_limit}
            (Path(folder) / JOBS).write_text(json.dumps(order))
            (Path(folder) / JOURNAL).touch()
            code, words = _run_worker(module, Path(folder), environment or {}, relay)
            done = _read_journal(Path(folder) / JOURNAL)
        ended |= done
        waiting = [job for job in waiting if job["name"] not in done]
        if waiting and code == 0:
            raise LitemillError(f"the worker ended early, before {waiting[0]['name']!r}", where=module)
        if waiting:
            name = waiting.pop(0)["name"]
            spent = time.monotonic() - started - sum(outcome.seconds for outcome in done.values())
            ended[name] = Outcome(death(code, words, time_limit), spent, DIED, max(0, -code))
            log.warning("%s: %s: %s", module, name, ended[name].reason)
    return ended


def serve(handler: Callable[[Job], None]) -> None:
    """Do the jobs named on the command line, one after the other; the worker's side of `run_isolated`.

    A `LitemillError` from the handler fails its job with that message; any other exception is a bug or a
    refusal of a library, and fails it with the exception's type and the line that says most.
    """
    end_with_starter()
    faulthandler.enable(all_threads=False)
    folder = Path(sys.argv[1])
    order = json.loads((folder / JOBS).read_text())
    with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
        for job in order["jobs"]:
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, order["time_limit"] or 0)
            reason, cause = _attempt(handler, job)
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = time.monotonic() - started
            line = {"name": job["name"], "reason": reason, "seconds": seconds, "cause": cause}
            journal.write(json.dumps(line) + "\n")
            journal.flush()


def _attempt(handler: Callable[[Job], None], job: Job) -> tuple[str, str]:
    """Do one job; return the reason it failed and the type of what it raised, or nothing."""
    try:
        handler(job)
    except LitemillError as error:
        if not isinstance(error, StepFailed):
            log.warning("%s: %s", job["name"], error)
        return str(error), type(error).__name__
    except Exception as error:
        log.exception("%s failed", job["name"])
        first, kind = first_line(error), type(error).__name__
        if place := own_fault(error):
            return f"a fault of Litemill's own in {place}, {kind}: {first}. Report it with the log", kind
        return (first if first == kind else f"{kind}: {first}"), kind
    return "", ""


def _run_worker(module: str, folder: Path, environment: Mapping[str, str], relay: bool) -> tuple[int, list[str]]:
    """Run the worker once over the jobs in a folder; its exit code and the lines it printed."""
    printed = folder / "printed"
    with printed.open("wb") as output, printed.open(encoding="utf-8", errors="replace") as lines:
        process = start_module(module, [str(folder)], output, environment={**os.environ, **environment})
        try:
            while (code := process.wait(RELAY_SECONDS if relay else None)) is None:
                sys.stderr.write(lines.read())
                sys.stderr.flush()
        finally:
            process.kill()
        sys.stderr.write(lines.read() if relay else "")
    words = [line.strip() for line in printed.read_text(encoding="utf-8", errors="replace").splitlines()]
    for line in words:
        log.debug("%s: %s", module, line)
    return code, [line for line in words if line]


def _read_journal(path: Path) -> dict[str, Outcome]:
    """How every job ended that the worker finished, by name."""
    outcomes = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}"))
    return {line["name"]: Outcome(line["reason"], line["seconds"], line["cause"]) for line in outcomes}


def death(code: int, words: list[str], time_limit: float | None, what: str = "the worker process") -> str:
    """Say how a process died and its last words, without the Python traceback of a native crash.

    Args:
        code: Its exit code, negative for the signal that ended it.
        words: The lines it printed.
        time_limit: Seconds it had; None where it had no limit.
        what: What the process is called.
    """
    if code == -signal.SIGALRM and time_limit is not None:
        return f"took more than {time_limit:g} s and was ended"
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        how += " (as the kernel does where memory runs out)"
    stop = next((at for at, line in enumerate(words) if line.startswith("Fatal Python error")), len(words))
    output = [*words[:stop][-LAST_LINE:], *words[stop : stop + 1]]
    return f"{what} was {how}; its last words: {' | '.join(output) or 'none'}"
