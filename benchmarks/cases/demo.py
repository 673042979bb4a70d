"""`make demo` against this repository at an older commit."""

from __future__ import annotations

from benchmarks.cases import Found, alternations
from benchmarks.record import Figure, ratio
from benchmarks.session import PEER, Demo, Session

ALTERNATIONS = 2
GOAL = 0.35


def measure(session: Session) -> Found:
    """Run both in turn, each in a new copy of the repository."""
    ours: list[Demo] = []
    theirs: list[float] = []
    for turn in session.turns(ALTERNATIONS):
        session.tell(f"make demo at {PEER} ({turn})")
        theirs.append(session.peer().demo().seconds)
        if not ours:
            ours.append(session.first_run.demo)
        else:
            session.tell(f"make demo ({turn})")
            ours.append(session.ours().demo())
    seconds = [demo.seconds for demo in ours]
    figure = Figure(name="of its wall time", found=ratio(seconds, theirs), goal=GOAL, sense="at most")
    samples = {
        "ours_s": seconds,
        "ours_model_s": [demo.model_s for demo in ours],
        "ours_run_s": [demo.run_s for demo in ours],
        f"at_{PEER}_s": theirs,
    }
    return Found([figure], samples, [alternations(theirs)])
