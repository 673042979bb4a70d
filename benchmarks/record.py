"""What a benchmark found, as data: figures with their intervals, the samples behind them, and the machine.

`benchmarks/results/<case>.json` holds one `Result`; `benchmarks/table.py` renders the tables of the pages from them.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
LEVEL = 0.95
VERSIONED = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "kfp", "mlflow", "numpy")

Sense = Literal["at most", "below", "at least", "within"]
"""How a figure is held against its goal; `within`: no further from 1 than that."""
SIGNS = {"at most": "≤ ", "below": "< ", "at least": "≥ ", "within": "1 ± "}


class Record(BaseModel):
    """Base: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Interval(Record):
    """A value with the bounds of its 95 % interval; no bounds where there was only one measurement."""

    value: float
    low: float | None = None
    high: float | None = None


class Figure(Record):
    """One figure of a case, and its goal."""

    name: str
    found: Interval
    goal: float
    sense: Sense
    unit: str = ""
    digits: int = Field(2, description="behind the point, where it is shown")

    @property
    def met(self) -> bool:
        """Whether the value keeps to the goal."""
        value = self.found.value
        if self.sense == "within":
            return abs(value - 1) <= self.goal
        if self.sense == "at least":
            return value >= self.goal
        return value < self.goal if self.sense == "below" else value <= self.goal

    @property
    def wanted(self) -> str:
        """The goal, as it is shown."""
        return f"{SIGNS[self.sense]}{self.goal:g}{self.unit}"

    @property
    def shown(self) -> str:
        """The value with its interval, as it is shown."""
        found = self.found
        value = f"{found.value:.{self.digits}f}{self.unit}"
        if found.low is None or found.high is None:
            return value
        return f"{value} [{found.low:.{self.digits}f}, {found.high:.{self.digits}f}]"


class Machine(Record):
    """Where it was measured."""

    system: str
    cpu: str
    cores: int
    memory_gb: float
    python: str
    versions: dict[str, str]
    load_before: float = Field(description="processes that ran or waited for a processor, mean of a minute")


class Result(Record):
    """What a case found."""

    schema_version: int = 1
    case: str
    figures: list[Figure] = Field(min_length=1)
    samples: dict[str, list[float]] = Field(description="every measurement, by what was measured and its unit")
    notes: list[str] = []
    commit: str
    date: str
    seconds: float = Field(description="that the case took")
    machine: Machine


def this_machine() -> Machine:
    """What is known of this machine."""
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=models[0] if models else platform.processor() or "unknown",
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory / 1e9, 1),
        python=platform.python_version(),
        versions={name: importlib.metadata.version(name) for name in VERSIONED},
        load_before=round(os.getloadavg()[0], 2),
    )


def this_commit() -> str:
    """The commit that is checked out, and whether tracked files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)  # noqa: S607
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!README.md")
    return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")


def today() -> str:
    """The date, in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Geometric mean of the ratios of pairs that were measured in turn, with Student's interval on their logarithms.

    Raises:
        ValueError: There are no pairs.
    """
    logs = np.log(np.asarray(ours, float)) - np.log(np.asarray(theirs, float))
    found = mean(logs.tolist())
    bounds = [None if bound is None else float(np.exp(bound)) for bound in (found.low, found.high)]
    return Interval(value=float(np.exp(found.value)), low=bounds[0], high=bounds[1])


def mean(samples: Sequence[float]) -> Interval:
    """Mean with Student's interval.

    Raises:
        ValueError: There are no samples.
    """
    if not len(samples):
        raise ValueError("there is nothing to take the mean of")
    values = np.asarray(samples, float)
    value = float(values.mean())
    if len(values) < 2:
        return Interval(value=value)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(value=value, low=value - half, high=value + half)


def median(samples: Sequence[float]) -> Interval:
    """Median with the interval between two of the samples that holds it in 95 of 100 cases, whatever they come from.

    Raises:
        ValueError: There are fewer than six samples, which no such interval fits.
    """
    values = np.sort(np.asarray(samples, float))
    if len(values) < 6:
        raise ValueError(f"{len(values)} samples: a median's interval needs six")
    rank = int(stats.binom.ppf((1 - LEVEL) / 2, len(values), 0.5))
    return Interval(value=float(np.median(values)), low=float(values[rank - 1]), high=float(values[-rank]))


def path_of(case: str) -> Path:
    """Where a case's result is kept."""
    return RESULTS / f"{case}.json"


def read(case: str) -> Result | None:
    """The result of a case; None where there is none.

    Raises:
        ValidationError: The file is not such a result.
    """
    path = path_of(case)
    return Result.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def write(result: Result) -> Path:
    """Keep the result of a case."""
    path = path_of(result.case)
    path.parent.mkdir(exist_ok=True)
    path.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path
