"""Pareto front, gate and ranking: pure functions from evidence and a budget to the variant to ship."""

from litemill.select.building import build_results
from litemill.select.candidate import Candidate
from litemill.select.gate import judge
from litemill.select.limits import settle
from litemill.select.pareto import pareto_front
from litemill.select.selection import Judgement, Selection, select

__all__ = [
    "Candidate",
    "Judgement",
    "Selection",
    "build_results",
    "judge",
    "pareto_front",
    "select",
    "settle",
]
