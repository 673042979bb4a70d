"""Which variant to ship: gate, rank by the objective, and say why."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, Field

from litemill.config.objective import Objective
from litemill.config.run import Budget
from litemill.evidence import Evaluation, Verdict
from litemill.select.candidate import Candidate
from litemill.select.gate import judge
from litemill.select.pareto import pareto_front
from litemill.select.results import Results, TargetResult, VariantResult


class Judgement(BaseModel):
    """What the gate says about one variant. `rank` 1 is the winner; only a `pass` has one."""

    recipe: str
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list)
    pareto: bool = False
    rank: int | None = None


class Selection(BaseModel):
    """The outcome for a run: a judgement of every variant, in the order given, and the winner."""

    winner: str = ""
    reason: str = ""
    judgements: list[Judgement] = Field(default_factory=list)


def select(evidence: Sequence[Candidate], budget: Budget, objective: str | Objective) -> Selection:
    """Judge every variant by the budget and rank the admissible ones by the objective.

    Only a `pass` is admissible: an inconclusive variant is never shipped, and neither is a failed one.

    Args:
        evidence: One entry a recipe; failed recipes included.
        budget: The limits.
        objective: `size` (bytes of the `.tflite`, then compressed bytes), `size:<target>` (bytes that it stores) or
            `latency:<target>`.
    """
    objective = Objective.parse(objective) if isinstance(objective, str) else objective
    judgements = []
    front = _front(evidence, objective)
    for entry in evidence:
        verdict, reasons = judge(entry, budget, objective)
        judgements.append(
            Judgement(recipe=entry.recipe, verdict=verdict, reasons=reasons, pareto=entry.recipe in front)
        )
    admissible = [entry for entry, output in zip(evidence, judgements, strict=True) if output.verdict == "pass"]
    ranked = _ranked(admissible, objective)
    places = {entry.recipe: place for place, entry in enumerate(ranked, start=1)}
    for judgement in judgements:
        judgement.rank = places.get(judgement.recipe)
    if not ranked:
        return Selection(reason=_why_none(judgements), judgements=judgements)
    return Selection(winner=ranked[0].recipe, reason=_why(ranked, objective), judgements=judgements)


def build_results(
    name: str,
    evidence: Sequence[Candidate],
    selection: Selection,
    budget: Budget,
    objective: str,
    mlflow_run_id: str = "",
) -> Results:
    """Bring evidence and judgements together as `results.json`: by rank, then the others as they were given."""
    rows = [_row(entry, output) for entry, output in zip(evidence, selection.judgements, strict=True)]
    rows.sort(key=lambda row: math.inf if row.rank is None else row.rank)
    return Results(
        name=name,
        winner=selection.winner,
        reason=selection.reason,
        objective=objective,
        budget=budget,
        baseline=_baseline(evidence),
        higher_is_better=all(found.higher_is_better for found in _evaluations(evidence)),
        mlflow_run_id=mlflow_run_id,
        variants=rows,
    )


def _evaluations(evidence: Sequence[Candidate]) -> list[Evaluation]:
    """Those that are there."""
    return [entry.evaluation for entry in evidence if entry.evaluation and entry.evaluation.status == "ok"]


def _baseline(evidence: Sequence[Candidate]) -> float | None:
    """The baseline's metric: what a variant has and the drop it was paired to have."""
    paired = (found for found in _evaluations(evidence) if found.drop)
    return next((one.value + (1 if one.higher_is_better else -1) * one.drop.value for one in paired if one.drop), None)


def _row(entry: Candidate, output: Judgement) -> VariantResult:
    variant, evaluation = entry.variant, entry.evaluation
    evaluated = evaluation is not None and evaluation.status == "ok"
    return VariantResult(
        recipe=variant.recipe,
        steps=variant.steps,
        status="failed" if entry.failure else "ok",
        reason="; ".join(output.reasons),
        accuracy=evaluation.value if evaluation and evaluated else None,
        accuracy_drop=evaluation.drop if evaluation and evaluated else None,
        metric=evaluation.metric if evaluation and evaluated else "",
        size_bytes=variant.size_bytes,
        gzip_bytes=variant.gzip_bytes,
        sha256=variant.sha256,
        sparsity=variant.graph.sparsity if variant.graph else None,
        verdict=output.verdict,
        pareto=output.pareto,
        rank=output.rank,
        options=variant.options,
        measurements={target: TargetResult.of(found) for target, found in entry.measurements.items()},
    )


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
    target = objective.target
    found = best.measurements[target] if target else None
    if found is None:
        return "smallest", f"{best.variant.size_bytes:,} bytes"
    if objective.kind == "latency":
        return f"fastest on {target}", f"p50 {found.latency_ms['p50']:.3g} ms ({found.kind})"
    return f"smallest on {target}", f"{found.realised_bytes:,} bytes stored ({found.kind})"


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
