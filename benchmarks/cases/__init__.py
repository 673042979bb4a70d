"""The cases of `make bench`: a row of the table each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import NamedTuple

from benchmarks.record import Figure
from benchmarks.session import Session


class Found(NamedTuple):
    """What a case measured."""

    figures: list[Figure]
    samples: dict[str, list[float]]
    notes: list[str]


def alternations(measured: Sequence[float]) -> str:
    """A note on how often two were measured in turn."""
    return f"{len(measured)} alternation{'s' * (len(measured) > 1)}"


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        name: Names it on the command line, and its file of results.
        what: What is measured.
        against: What it is held against, on the same machine in the same run.
        runs: `module:function` that measures, called with the session.
        how: How it is measured, for the page that explains the table.
    """

    name: str
    what: str
    against: str
    runs: str
    how: str = field(repr=False)

    def measure(self, session: Session) -> Found:
        """Measure it."""
        module, _, function = self.runs.partition(":")
        measure: Callable[[Session], Found] = getattr(import_module(f"benchmarks.cases.{module}"), function)
        return measure(session)


CASES = (
    # In the order in which they are measured: what is repeated as often as time allows comes last.
    Case(
        "commands",
        "`litemill --help`, `litemill plan` of the demo",
        "–",
        "commands:measure",
        "15 times each, in turn; the median. `plan` checks the model and the whole data set.",
    ),
    Case(
        "host",
        "latency that is measured on `host`",
        "LiteRT's own `litert-benchmark`, the same file, interleaved",
        "host:measure",
        "A float32 CNN of some milliseconds, because that program rounds to 0.01 ms; medians of eight rounds.",
    ),
    Case(
        "evaluation",
        "evaluation of 10,000 samples, int8 and float32",
        "a loop over single samples; the ideal: one invocation on one thread, times the samples, divided by the cores",
        "evaluation:measure",
        "A CNN of two strided convolutions, as microcontrollers take it, on Fashion-MNIST's test images. All "
        "ways in turn; outputs are compared bit by bit.",
    ),
    Case(
        "memory",
        "peak memory of prepare, calibrate and evaluate at 10 times the data",
        "the same with one tenth of it",
        "memory:measure",
        "Memory that the processes of a step have for themselves, looked at every 20 ms; pages of mapped files, which "
        "the system takes back when it needs them, do not count. 6,000 and 60,000 training images, 1,000 and 10,000 "
        "test images, 100 and 1,000 for calibration.",
    ),
    Case(
        "demo",
        "`make demo` after set-up",
        "this repository at commit 61dce74, alternating",
        "demo:measure",
        "Both in copies of the repository in which nothing has run, each with the packages of its own lock: the model "
        "is trained, then the 13 recipes run.",
    ),
    Case(
        "orchestration",
        "a local run",
        "the time inside the library's steps",
        "runs:orchestration",
        "The demo's first run. A step's time is that between the lines of its log with which Kubeflow's executor "
        "enters and leaves it. Steps run beside each other, so that their sum may be more than the run took: the "
        "stricter figure holds the run against the time in which at least one step was at work.",
    ),
    Case(
        "second-run",
        "the same run again, nothing changed",
        "the first run",
        "runs:second",
        "The demo's `litemill run`, three times more.",
    ),
    Case(
        "added-recipe",
        "one recipe added to a finished run, beyond the cost of its own tasks",
        "the first run",
        "runs:added",
        "A recipe with a train-aware step is added to the demo, twice. Its own cost is the time in which at least one "
        "of the tasks that only it has was at work.",
    ),
    Case(
        "recipes",
        "40 recipes: time and bytes of the compiled pipeline for each",
        "those of 5 recipes",
        "recipes:measure",
        "Conversions of the demo's model with different options, nothing in the cache.",
    ),
    Case(
        "sweep",
        "a full sweep of Fashion-MNIST: 10 recipes, 2 epochs a step, nothing in the cache",
        "`benchmarks/tutorial.py`, alternating",
        "sweep:measure",
        "The same model (that of TensorFlow's guides), data, epochs and options. The guides' way is one process, "
        "`from_keras_model`, a loop over single samples, and each recipe from scratch. Litemill also measures latency, "
        "proves each variant and writes the report, all of which its time includes.",
    ),
)


def case_of(name: str) -> Case:
    """A case by its name.

    Raises:
        KeyError: There is none; names those there are.
    """
    for case in CASES:
        if case.name == name:
            return case
    raise KeyError(f"no case {name!r}; there are {', '.join(one.name for one in CASES)}")
