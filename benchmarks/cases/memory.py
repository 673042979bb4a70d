"""Whether the memory that a step needs grows with the data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.cases import Found
from benchmarks.record import Figure, ratio
from benchmarks.session import Session

REPEATS = 3
GOAL = 1.1
TIMES = {"1x": (6_000, 1_000, 100), "10x": (60_000, 10_000, 1_000)}
"""Samples to train with, to test on and to calibrate with."""


def measure(session: Session) -> Found:
    """Prepare, calibrate (convert to int8) and evaluate both amounts in turn, each step in a process of its own."""
    folder, source = session.place("memory"), session.fashion
    session.python("benchmarks.models", "guide", folder / "model.keras", source, cwd=folder)
    with np.load(source) as arrays:
        for name, (train, test, _) in TIMES.items():
            kept = {f"{axis}_train": arrays[f"{axis}_train"][:train] for axis in "xy"}
            kept |= {f"{axis}_test": arrays[f"{axis}_test"][:test] for axis in "xy"}
            np.savez_compressed(folder / f"{name}.npz", **kept)
    for name in TIMES:
        session.tell(f"data and model at {name}")
        session.python(__name__, "begin", folder, name, cwd=folder)
    samples: dict[str, list[float]] = {}
    for turn in range(REPEATS):
        for name in TIMES:
            session.tell(f"peak memory at {name} ({turn + 1} of {REPEATS})")
            for step, peak in _peaks(session, folder, name, turn).items():
                samples.setdefault(f"{step}_{name}_mb", []).append(peak / 1e6)
    figures = [
        Figure(
            name=f"of the memory, {step}",
            found=ratio(samples[f"{step}_10x_mb"], samples[f"{step}_1x_mb"]),
            goal=GOAL,
            sense="at most",
        )
        for step in ("prepare", "calibrate", "evaluate")
    ]
    return Found(figures, samples, [f"{REPEATS} repetitions"])


def _peaks(session: Session, folder: Path, name: str, turn: int) -> dict[str, int]:
    """Peak bytes by step."""
    return {
        step: session.python(__name__, step, folder, name, str(turn), cwd=folder, look_at_memory=True).peak_bytes
        for step in ("prepare", "calibrate", "evaluate")
    }


def _main(step: str, folder: Path, name: str, turn: str) -> None:
    """One step, as its component calls it."""
    import litemill as lm

    samples, here = TIMES[name], folder / name
    data = {
        "kind": "npz",
        "uri": str(folder / f"{name}.npz"),
        "preprocessing": {"scale": 1 / 255},
        "limit": {"calibration": samples[2]},
    }
    if step == "begin":
        lm.prepare_data(data, out=here / "data")
        lm.import_model(folder / "model.keras", here / "data", out=here / "model", baseline=here / "baseline")
    elif step == "prepare":
        lm.prepare_data(data, out=here / f"data-{turn}")
    elif step == "calibrate":
        lm.convert(here / "model", {"int8": ["int8"]}, out=here / f"variants-{turn}", dataset=here / "data")
    else:
        lm.evaluate(here / f"variants-{turn}", here / "data", out=here / f"evaluation-{turn}")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "")
