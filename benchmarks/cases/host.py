"""Latency on `host` against the program that LiteRT brings for it."""

from __future__ import annotations

import json
import statistics

from benchmarks.cases import Found
from benchmarks.programs import BenchmarkFailed
from benchmarks.record import Figure, ratio
from benchmarks.session import Session
from litemill.benchmark import benchmark_files
from litemill.config.targets import parse_target

ROUNDS = 8
CALLS = 300
WITHIN = 0.03
THEIRS = "ai_edge_litert.tools.benchmark_litert_model"


def measure(session: Session) -> Found:
    """Measure the same file with both in turn, who begins changing every time."""
    folder = session.place("host")
    model = folder / "model.tflite"
    session.python("benchmarks.models", "milliseconds", model, cwd=folder)
    target = parse_target({"device": "host", "seconds": 3.0})
    ours: list[float] = []
    theirs: list[float] = []
    session.tell(f"latency on host and with litert-benchmark ({ROUNDS} rounds)")

    def measure_ours() -> None:
        (found,) = benchmark_files(target, [model])
        if found.status != "ok":
            raise BenchmarkFailed(f"host: {found.reason}")
        ours.append(found.latency_ms["p50"])

    def measure_theirs() -> None:
        out = folder / "theirs.json"
        options = [f"--model={model}", f"--num_runs={CALLS}", "--warmup_runs=50", f"--result_json={out}"]
        session.python(THEIRS, *options, cwd=folder)
        theirs.append(json.loads(out.read_text())["latency"]["median_ms"])

    for turn in range(ROUNDS):
        order = (measure_ours, measure_theirs) if turn % 2 else (measure_theirs, measure_ours)
        for each in order:
            each()
    figure = Figure(name="of its median", found=ratio(ours, theirs), goal=WITHIN, sense="within", digits=3)
    note = f"medians of {ROUNDS} rounds: {statistics.median(ours):.2f} and {statistics.median(theirs):.2f} ms"
    return Found([figure], {"ours_p50_ms": ours, "litert_benchmark_p50_ms": theirs}, [note])
