"""When the steps of a local run were at work: read from the logs of its tasks."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.programs import BenchmarkFailed

LINE = re.compile(r"^\[KFP Executor (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+\]: (.*)$", re.MULTILINE)
ENTERS = "Got executor_input"
LEAVES = ("Wrote executor output", "Did not write output")


class Step(NamedTuple):
    """A task that ran: when its component's function began and ended, in seconds since 1970."""

    task: str
    began: float
    ended: float


def steps_of(work: Path) -> list[Step]:
    """The steps of the last run in a work folder.

    Raises:
        BenchmarkFailed: There is no run, or a task's log does not say when its function began and ended.
    """
    runs = sorted((work / "logs").iterdir(), key=lambda folder: folder.stat().st_mtime)
    if not runs:
        raise BenchmarkFailed(f"no run in {work}")
    found = []
    for log in sorted(runs[-1].glob("*.log")):
        lines = LINE.findall(log.read_text(encoding="utf-8", errors="replace"))
        began = [_seconds(at) for at, text in lines if text.startswith(ENTERS)]
        ended = [_seconds(at) for at, text in lines if text.startswith(LEAVES)]
        if not lines:
            continue  # of a process that forks tasks
        if len(began) != 1 or len(ended) != 1:
            raise BenchmarkFailed(f"{log} does not say when its step began and ended")
        found.append(Step(log.stem, began[0], ended[0]))
    if not found:
        raise BenchmarkFailed(f"no step ran in {runs[-1]}")
    return found


def summed(steps: Iterable[Step]) -> float:
    """Seconds inside the steps, as if one had come after the other."""
    return sum(step.ended - step.began for step in steps)


def covered(steps: Collection[Step]) -> float:
    """Seconds in which at least one of them was at work."""
    total, until = 0.0, 0.0
    for step in sorted(steps, key=lambda one: one.began):
        total += max(0.0, step.ended - max(step.began, until))
        until = max(until, step.ended)
    return total


def _seconds(text: str) -> float:
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=datetime.UTC).timestamp()
