"""How fast a test split is evaluated; see `benchmarks/evaluation.py`."""

from __future__ import annotations

import json
import os

from benchmarks.cases import Found
from benchmarks.programs import BenchmarkFailed
from benchmarks.record import Figure, median
from benchmarks.session import Session

ROUNDS = 21
FASTER, OF_IDEAL = 5.0, 0.9


def measure(session: Session) -> Found:
    """Evaluate all three ways in turn, in a process of its own."""
    session.tell(f"evaluation of 10,000 samples ({ROUNDS} rounds)")
    folder = session.place("evaluation")
    out = folder / "rounds.json"
    session.python("benchmarks.evaluation", "--rounds", str(ROUNDS), "--json", out, cwd=folder)
    cores = len(os.sched_getaffinity(0))
    figures: list[Figure] = []
    samples: dict[str, list[float]] = {}
    for scheme, found in json.loads(out.read_text()).items():
        if not found.pop("equal"):
            raise BenchmarkFailed(f"{scheme}: the outputs of the loop and those of Litemill differ")
        samples |= {f"{scheme}_{way}_s": seconds for way, seconds in found.items()}
        faster = [loop / ours for loop, ours in zip(found["loop"], found["runner"], strict=True)]
        ideal = [alone / cores / ours for alone, ours in zip(found["invocations"], found["runner"], strict=True)]
        figures += [
            Figure(name=f"× the loop's speed, {scheme}", found=median(faster), goal=FASTER, sense="at least", digits=1),
            Figure(name=f"of the ideal speed, {scheme}", found=median(ideal), goal=OF_IDEAL, sense="at least"),
        ]
    return Found(figures, samples, [f"{ROUNDS} rounds"])
