"""Whether a run of many recipes costs more for each than one of few."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import yaml

from benchmarks.cases import Found, alternations
from benchmarks.programs import BenchmarkFailed
from benchmarks.record import Figure, Interval, ratio
from benchmarks.session import MODEL, Session

FEW, MANY = 5, 40
ALTERNATIONS = 2
NO_VARIANT = 3


def recipes(count: int) -> dict[str, list[object]]:
    """So many conversions, no two of them equal; every kind is among the first five."""
    left_out: tuple[list[str], ...] = (
        [],
        ["conv2d*"],
        ["depthwise*"],
        ["scores"],
        ["conv2d"],
        ["conv2d_1"],
        ["conv2d_2"],
        ["depthwise_conv2d"],
    )
    found: dict[str, list[object]] = {}
    for number, scheme in product(range(len(left_out)), ("float16", "dynamic", "int8", "int16x8", "weights-int8")):
        options = {"exclude": left_out[number]} if number else {}
        found[f"{scheme}-{number}"] = [{scheme: options} if options else scheme]
    return dict(list(found.items())[:count])


def measure(session: Session) -> Found:
    """Run both configs in turn, each with nothing in the cache, and compile them."""
    samples: dict[str, list[float]] = {}
    sizes = {}
    for turn in session.turns(ALTERNATIONS):
        for count in (FEW, MANY):
            session.tell(f"a run of {count} recipes ({turn})")
            tree = session.ours()
            tree.make(str(MODEL))
            path = write(tree.folder / "recipes.yaml", count)
            took = tree.litemill("run", path, "--out", "out/recipes", allowed=(0, NO_VARIANT))
            samples.setdefault(f"{count}_recipes_s", []).append(took.seconds)
            found = json.loads((tree.folder / "out/recipes/results.json").read_text())["variants"]
            if failed := [variant["recipe"] for variant in found if variant["status"] != "ok"]:
                raise BenchmarkFailed(f"recipes failed: {', '.join(failed)}")
            ir = tree.folder / "recipes.pipeline.yaml"
            tree.litemill("compile", path, "-o", ir)
            sizes[count] = ir.stat().st_size
    each = {count: [one / count for one in samples[f"{count}_recipes_s"]] for count in (FEW, MANY)}
    size = (sizes[MANY] / MANY) / (sizes[FEW] / FEW)
    figures = [
        Figure(name="of the time a recipe", found=ratio(each[MANY], each[FEW]), goal=1.0, sense="at most"),
        Figure(
            name="of the bytes a recipe", found=Interval(value=size, low=size, high=size), goal=1.0, sense="at most"
        ),
    ]
    samples |= {f"{count}_recipes_ir_bytes": [float(size)] for count, size in sizes.items()}
    return Found(figures, samples, [alternations(each[MANY])])


def write(path: Path, count: int) -> Path:
    """The config of a run of so many recipes."""
    config = {
        "name": f"bench-{count}-recipes",
        "model": {"uri": str(MODEL)},
        "data": {"kind": "digits", "preprocessing": {"scale": 1 / 16}},
        "recipes": recipes(count),
        "targets": [{"device": "host", "seconds": 0.5}],
        "budget": {"max_accuracy_drop": 0.05},
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path
