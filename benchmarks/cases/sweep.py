"""A full sweep of Fashion-MNIST against the ways of TensorFlow's guides."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from benchmarks.cases import Found, alternations
from benchmarks.programs import BenchmarkFailed
from benchmarks.record import Figure, ratio
from benchmarks.session import Session

ALTERNATIONS = 2
GOAL = 0.5
EPOCHS = 2
NO_VARIANT = 3
"""Exit code of a run whose budget no variant meets: what it took is what counts here."""


def config(model: Path, data: Path) -> dict[str, object]:
    """The same ten recipes as `benchmarks/tutorial.py`, with its options."""
    whole = {"include": ["Conv2D", "Dense"], "min_weights": 0}  # as the guides have it: the first and last layer, too
    prune, cluster = {"prune": {"sparsity": 0.5, **whole}}, {"cluster": {"clusters": 16, **whole}}
    return {
        "name": "bench-sweep",
        "model": {"uri": str(model)},
        "data": {
            "kind": "npz",
            "uri": str(data),
            "preprocessing": {"scale": 1 / 255},
            "limit": {"calibration": 100},
        },
        "training": {"epochs": EPOCHS, "batch_size": 128, "learning_rate": 1e-3, "validation": 0.0},
        "recipes": {
            **{scheme: [scheme] for scheme in ("float32", "float16", "dynamic", "int8", "int16x8")},
            "pruned-int8": [prune, "int8"],
            "clustered-int8": [cluster, "int8"],
            "qat-int8": ["qat", "int8"],
            "pqat": [prune, "qat", "int8"],
            "pcqat": [prune, cluster, "qat", "int8"],
        },
        "budget": {"max_accuracy_drop": 0.02},
    }


def measure(session: Session) -> Found:
    """Make all variants both ways in turn."""
    folder = session.place("sweep")
    model, data = folder / "model.keras", session.fashion
    session.tell("the model of TensorFlow's guides")
    session.python("benchmarks.models", "guide", model, data, cwd=folder)
    samples: dict[str, list[float]] = {"ours_s": [], "tutorial_s": []}
    for turn in session.turns(ALTERNATIONS):
        session.tell(f"ten variants as the guides make them ({turn})")
        out = folder / f"tutorial-{len(samples['ours_s'])}"
        took = session.python("benchmarks.tutorial", model, data, out, "--epochs", str(EPOCHS), cwd=folder)
        samples["tutorial_s"].append(took.seconds)
        theirs = {row["recipe"]: row["accuracy"] for row in json.loads((out / "results.json").read_text())}
        session.tell(f"the same ten in a run of Litemill ({turn})")
        tree = session.ours()
        path = tree.folder / "sweep.yaml"
        path.write_text(yaml.safe_dump(config(model, data), sort_keys=False), encoding="utf-8")
        samples["ours_s"].append(tree.litemill("run", path, "--out", "out/sweep", allowed=(0, NO_VARIANT)).seconds)
        found = json.loads((tree.folder / "out/sweep/results.json").read_text())
        if reasons := [f"{one['recipe']}: {one['reason']}" for one in found["variants"] if one["status"] != "ok"]:
            raise BenchmarkFailed(f"variants failed: {'; '.join(reasons)}")
        ours = {variant["recipe"]: variant["accuracy"] for variant in found["variants"]}
    if set(ours) != set(theirs):
        raise BenchmarkFailed(f"not the same variants were made: {sorted(set(ours) ^ set(theirs))}")
    for recipe in theirs:
        samples[f"accuracy_{recipe}_ours_tutorial"] = [ours[recipe], theirs[recipe]]
    figure = Figure(
        name="of its wall time", found=ratio(samples["ours_s"], samples["tutorial_s"]), goal=GOAL, sense="at most"
    )
    return Found([figure], samples, [alternations(samples["ours_s"])])
