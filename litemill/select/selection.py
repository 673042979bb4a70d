"""Which variant to ship: gate, rank by the objective, and say why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from litemill.config.budget import Budget
from litemill.config.objective import Objective
from litemill.evidence.base import Verdict
from litemill.evidence.proof import Family, Proof
from litemill.select.candidate import Candidate
from litemill.select.gate import judge
from litemill.select.pareto import pareto_front
from litemill.select.proof import prove


class Judgement(BaseModel):
    """What the gate says about one variant. `rank` 1 is the winner; only what is admissible has one."""

    recipe: str
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list)
    refused_by: list[str] = Field(default_factory=list)
    proof: Proof = Proof()
    pareto: bool = False
    rank: int | None = None


class Selection(BaseModel):
    """The outcome for a run: a judgement of every variant, in the order given, and the winner."""

    winner: str = ""
    reason: str = ""
    judgements: list[Judgement] = Field(default_factory=list)
    family: Family = Family()


def select(
    evidence: Sequence[Candidate],
    budget: Budget,
    objective: str | Objective,
    *,
    champion: Candidate | None = None,
    reference: Path | None = None,
) -> Selection:
    """Judge every variant by the budget and rank the admissible ones by the objective.

    A `pass` is admissible. An inconclusive variant is shipped only where the budget says `on_inconclusive: pass` and no
    evidence is missing; a failed one never is. The intervals of all variants hold together (see `Proof`).

    Args:
        evidence: One entry a recipe; failed recipes included, the champion not.
        budget: The limits.
        objective: `size` (bytes of the `.tflite`, then compressed bytes), `latency:<target>` or another (`OBJECTIVES`).
        champion: The registry's, evaluated and measured beside them: the winner must not be worse.
        reference: Evaluation of the float32 baseline bundle, whose samples the variants are paired with.
    """
    objective = Objective.parse(objective) if isinstance(objective, str) else objective
    judgements, admissible = [], []
    front = _front(evidence, objective)
    proofs = prove(evidence, budget, champion=champion, reference=reference)
    for entry in evidence:
        proof = proofs.of(entry)
        ruling = judge(entry, budget, objective, proof=proof, family=proofs.family, champion=champion)
        judgements.append(
            Judgement(
                recipe=entry.recipe,
                verdict=ruling.verdict,
                reasons=ruling.reasons,
                refused_by=[] if ruling.admissible else ruling.refused_by,
                proof=proof,
                pareto=entry.recipe in front,
            )
        )
        if ruling.admissible:
            admissible.append(entry)
    ranked = _ranked(admissible, objective)
    places = {entry.recipe: place for place, entry in enumerate(ranked, start=1)}
    for judgement in judgements:
        judgement.rank = places.get(judgement.recipe)
    if not ranked:
        return Selection(reason=_why_none(judgements), judgements=judgements, family=proofs.family)
    reason = _why(ranked, objective)
    return Selection(winner=ranked[0].recipe, reason=reason, judgements=judgements, family=proofs.family)


def _front(evidence: Sequence[Candidate], objective: Objective) -> set[str]:
    """Recipes on the front of metric, file size, compressed size and what the objective asks of a target.

    The compressed size is an axis of its own: pruning and clustering show there, as the file itself stays as large.
    """
    usable = [entry for entry in evidence if not entry.failure and objective.value(entry) is not None]
    points = [
        (entry.loss, entry.variant.size_bytes, entry.variant.gzip_bytes, _cost(entry, usable, objective))
        for entry in usable
    ]
    return {entry.recipe for entry, kept in zip(usable, pareto_front(points), strict=True) if kept}


def _ranked(admissible: Sequence[Candidate], objective: Objective) -> list[Candidate]:
    """Best first; ties go to the smaller file, then the smaller download, the better metric, the shorter recipe."""

    def key(entry: Candidate) -> tuple[float | str, ...]:
        variant = entry.variant
        cost = _cost(entry, admissible, objective)
        return cost, variant.size_bytes, variant.gzip_bytes, entry.loss, len(variant.steps), variant.recipe

    return sorted(admissible, key=key)


def _cost(entry: Candidate, among: Sequence[Candidate], objective: Objective) -> float:
    """What the objective minimises. Latencies are compared as ratios to the interleaved baseline where all have one:
    variants of different models are measured in different sessions, and a ratio survives what a time does not.
    """
    own, target = objective.value(entry), objective.target
    if own is None:
        return math.inf
    if objective.kind == "latency":
        found = [other.latency(target) for other in among]
        latency = entry.latency(target)
        if latency and latency.ratio_to_float32 and all(one is None or one.ratio_to_float32 for one in found):
            return latency.ratio_to_float32.value
    return float(own)


def _why(ranked: Sequence[Candidate], objective: Objective) -> str:
    best, timed = ranked[0], objective.kind == "latency"
    quality, figure = _praise(best, objective)
    if len(ranked) == 1:
        return f"{best.recipe} is the only admissible variant: {figure}"
    text = f"{best.recipe} is the {quality} of {len(ranked)} admissible variants: {figure}"
    tied = [other.recipe for other in ranked[1:] if timed and _within_noise(best, other, objective.target)]
    return f"{text}; within the noise of it: {', '.join(tied)}" if tied else text


def _praise(best: Candidate, objective: Objective) -> tuple[str, str]:
    """What the winner is, and the figure that shows it."""
    value, found = objective.value(best), best.measurements.get(objective.target)
    figure = objective.written(value) if value is not None else "unknown"
    if objective.kind == "latency":
        figure = f"p50 {figure}"
    return objective.winner, f"{figure} ({found.kind})" if objective.target and found else figure


def _within_noise(best: Candidate, other: Candidate, target: str) -> bool:
    """Whether the intervals of the two ratios to the baseline overlap."""
    first, second = best.latency(target), other.latency(target)
    if not (first and second and first.ratio_to_float32 and second.ratio_to_float32):
        return False
    return second.ratio_to_float32.ci[0] <= first.ratio_to_float32.ci[1]


def _why_none(judgements: Sequence[Judgement]) -> str:
    if not judgements:
        return "there is no variant to judge"
    failed = sum(judgement.verdict == "fail" for judgement in judgements)
    text = f"no variant is admissible: {failed} of {len(judgements)} fail"
    open_ones = len(judgements) - failed
    return f"{text}, {open_ones} inconclusive" if open_ones else text
