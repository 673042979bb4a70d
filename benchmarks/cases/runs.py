"""What a local run costs beyond its steps, and what the runs after the first cost."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from benchmarks.cases import Found
from benchmarks.programs import BenchmarkFailed, Run
from benchmarks.record import Figure, Interval, mean
from benchmarks.session import CONFIG, OUT, WORK, Session, Tree
from benchmarks.steps import covered, steps_of, summed

OVERHEAD = 1.10
AGAIN = 0.03
REPEATS = 3
ADDED = {"sparser-int8": 0.6, "sparsest-int8": 0.7}
"""Recipes that are added one by one: their sparsity."""
COUNTS = re.compile(r"^(\d+) tasks run, (\d+) from cache", re.MULTILINE)


def orchestration(session: Session) -> Found:
    """The first run against the time inside its steps."""
    demo, steps = session.first_run
    total, at_work = summed(steps), covered(steps)
    figures = [
        Figure(name="of their sum", found=Interval(value=demo.run_s / total), goal=OVERHEAD, sense="at most"),
        Figure(
            name="of the time in which one was at work",
            found=Interval(value=demo.run_s / at_work),
            goal=OVERHEAD,
            sense="at most",
        ),
    ]
    samples = {"run_s": [demo.run_s], "steps_sum_s": [total], "at_work_s": [at_work]}
    samples |= {f"step_{step.task}_s": [round(step.ended - step.began, 3)] for step in steps}
    return Found(figures, samples, [f"one run of {len(steps)} tasks"])


def second(session: Session) -> Found:
    """The same run again, three times."""
    demo = session.first_run.demo
    seconds = []
    for turn in range(REPEATS):
        session.tell(f"the demo's run again ({turn + 1} of {REPEATS})")
        again = run_config(demo.tree, CONFIG)
        if not _counts(again)[1]:
            raise BenchmarkFailed("the second run took nothing from the cache")
        seconds.append(again.seconds)
    found = mean([one / demo.run_s for one in seconds])
    figure = Figure(name="of its wall time", found=found, goal=AGAIN, sense="at most", digits=3)
    return Found([figure], {"first_s": [demo.run_s], "again_s": seconds}, [f"{REPEATS} repetitions"])


def added(session: Session) -> Found:
    """A recipe more, twice: what it takes beyond the tasks that only it has."""
    demo = session.first_run.demo
    run_config(demo.tree, CONFIG)
    every_time = {step.task for step in steps_of(demo.tree.folder / WORK)}
    took, own = [], []
    for name, sparsity in ADDED.items():
        session.tell(f"the demo's run with one recipe more ({name})")
        config = with_recipe(demo.tree, name, [{"prune": {"sparsity": sparsity}}, "int8"])
        took.append(run_config(demo.tree, config).seconds)
        new = [step for step in steps_of(demo.tree.folder / WORK) if step.task not in every_time]
        if not any(step.task.startswith("prune") for step in new):
            raise BenchmarkFailed(f"adding {name} trained nothing new")
        own.append(covered(new))
    found = mean([(whole - part) / demo.run_s for whole, part in zip(took, own, strict=True)])
    figure = Figure(name="of its wall time", found=found, goal=AGAIN, sense="at most", digits=3)
    samples = {"first_s": [demo.run_s], "with_recipe_s": took, "own_tasks_s": own}
    return Found([figure], samples, [f"{len(ADDED)} repetitions"])


def run_config(tree: Tree, config: Path) -> Run:
    """`litemill run` in a tree; where it is finished already, what has not changed comes from the cache."""
    return tree.litemill("run", config, "--out", OUT)


def with_recipe(tree: Tree, name: str, steps: list[object]) -> Path:
    """The demo's config with one recipe more; those before it stay."""
    path = tree.folder / CONFIG
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["recipes"][name] = steps
    out = path.with_name(f"with-{name}.yaml")
    out.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return out


def _counts(run: Run) -> tuple[int, int]:
    found = COUNTS.search(run.output)
    if not found:
        raise BenchmarkFailed(f"it does not say how many tasks ran:\n{run.output}")
    return int(found[1]), int(found[2])
