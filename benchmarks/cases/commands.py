"""How long a user waits for `litemill --help` and `litemill plan`."""

from __future__ import annotations

from shutil import copy2

from benchmarks.cases import Found
from benchmarks.record import ROOT, Figure, median
from benchmarks.session import CONFIG, MODEL, Session

TIMES = 15
HELP_GOAL, PLAN_GOAL = 0.3, 1.0


def measure(session: Session) -> Found:
    """Time both in turn; the first of each, which fills the system's caches, does not count."""
    tree = session.ours()
    if (ROOT / MODEL).is_file():
        copy2(ROOT / MODEL, tree.folder / MODEL)
    else:
        tree.make(str(MODEL))
    session.tell(f"litemill --help, litemill plan ({TIMES} times)")
    samples: dict[str, list[float]] = {"help_s": [], "plan_s": []}
    for turn in range(TIMES + 1):
        took = {"help_s": tree.litemill("--help").seconds, "plan_s": tree.litemill("plan", CONFIG).seconds}
        if turn:
            for name, seconds in took.items():
                samples[name].append(seconds)
    figures = [
        Figure(name=name, found=median(samples[key]), goal=goal, sense="below", unit=" s")
        for name, key, goal in (("`--help`", "help_s", HELP_GOAL), ("`plan`", "plan_s", PLAN_GOAL))
    ]
    return Found(figures, samples, [])
