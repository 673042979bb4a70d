"""The Python runner `litemill_runner`: how to ask it, and running it on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.benchmark.launch import run_program
from litemill.benchmark.session import Subject

PROBE_SECONDS = 120.0
"""A model that does not load and answer a few samples within this is given up."""


@dataclass(frozen=True)
class RunnerOptions:
    """How the runner measures.

    Attributes:
        accelerator: What computes.
        threads: Threads of one invocation.
        seconds: Time for each model in the timed session, after warm-up.
        block_seconds: Time a block aims at, unless one call takes longer.
        warmup_calls: Least number of calls before timing.
        warmup_seconds: Least time before timing.
        seed: Seeds the order of blocks.
    """

    accelerator: str = "cpu"
    threads: int = 1
    seconds: float = 1.5
    block_seconds: float = 0.01
    warmup_calls: int = 20
    warmup_seconds: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Entry:
    """A model as the runner gets it: paths are the device's."""

    key: str
    path: str
    inputs: str
    output: int = 0
    """Position of the output that is read."""
    output_name: str = ""
    """Its name in the signature, where there are several."""


def lay_out(subject: Subject, samples: NDArray[np.float32], folder: Path) -> Entry:
    """Write a subject's raw inputs into a local folder; the model itself is read where it stands."""
    inputs = folder / f"{subject.sha256}.npy"
    np.save(inputs, subject.raw(samples))
    return Entry(subject.sha256, str(subject.path.resolve()), str(inputs), subject.judged, subject.output_name)


def run_local(mode: str, entries: list[Entry], options: RunnerOptions, out: Path, time_limit: float) -> dict[str, Any]:
    """Run one job in a process of its own on this machine.

    Returns:
        The runner's `result.json`; raw outputs stand beside it as `<key>.npy`.

    Raises:
        StepFailed: The process crashed, hung or refused; its last words are in the message.
    """
    job = asdict(options) | {"mode": mode, "models": [asdict(entry) for entry in entries]}
    return run_program("litemill_runner", job, out, time_limit)


def read_outputs(out: Path, key: str) -> NDArray[Any]:
    """Raw outputs that a runner left."""
    loaded: NDArray[Any] = np.load(out / f"{key}.npy", allow_pickle=False)
    return loaded


def reference_outputs(subject: Subject, entry: Entry, kernels: str, folder: Path) -> NDArray[np.float32]:
    """What a kernel set computes on this machine, on one thread: the truth that other targets are compared with.

    Args:
        subject: The model.
        entry: Where it and its inputs are, on this machine.
        kernels: `cpu` (XNNPACK) or `cpu-reference` (the kernels that microcontrollers run).
        folder: Local folder to work in.

    Raises:
        StepFailed: LiteRT does not run it here.
    """
    out = folder / f"reference-{kernels}-{subject.sha256}"
    run_local("probe", [entry], RunnerOptions(accelerator=kernels), out, PROBE_SECONDS)
    return subject.real(read_outputs(out, subject.sha256))
