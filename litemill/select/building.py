"""From evidence and judgements to `results.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from litemill.config.budget import Budget
from litemill.evidence.base import Verdict
from litemill.evidence.outcome import Evaluation
from litemill.select.candidate import Candidate
from litemill.select.limits import written
from litemill.select.results import ChampionResult, Results, TargetResult, VariantResult
from litemill.select.selection import Judgement, Selection


def build_results(
    name: str,
    evidence: Sequence[Candidate],
    selection: Selection,
    budget: Budget,
    objective: str,
    mlflow_run_id: str = "",
    *,
    champion: Candidate | None = None,
) -> Results:
    """Bring evidence and judgements together as `results.json`: by rank, then the others as they were given."""
    rows = [_row(entry, output) for entry, output in zip(evidence, selection.judgements, strict=True)]
    grounds = grounds_of(evidence, selection, budget, champion)
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
        champion=_champion(champion),
        family=selection.family,
        grounds=grounds,
        decision=f"{_decided(selection)} {grounds}".strip(),
    )


def _champion(champion: Candidate | None) -> ChampionResult | None:
    if champion is None or champion.variant.champion is None:
        return None
    judged: Verdict = "fail" if champion.failure else "pass"
    row = _row(champion, Judgement(recipe=champion.recipe, verdict=judged, reasons=[champion.failure]))
    return ChampionResult(**dict(row), version=champion.variant.champion)


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
        refused_by=output.refused_by,
        proof=output.proof,
        macs=entry.macs,
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


def _decided(selection: Selection) -> str:
    if not selection.winner:
        return f"Nothing to ship: {selection.reason}."
    return f"Ship {selection.winner}, which {selection.reason.removeprefix(f'{selection.winner} ')}."


def grounds_of(
    evidence: Sequence[Candidate], selection: Selection, budget: Budget, champion: Candidate | None = None
) -> str:
    """What proves that the winner may ship, or what becomes of the champion where nothing does; in sentences."""
    known = champion.variant.champion if champion else None
    if not selection.winner:
        return f"The champion stays: {known}." if known and known.there else ""
    at = next(place for place, entry in enumerate(evidence) if entry.recipe == selection.winner)
    entry, judgement, family = evidence[at], selection.judgements[at], selection.family
    parts = []
    if entry.evaluation and judgement.proof.drop:
        sure = f"with {100 * family.confidence:g} % confidence over all {family.variants} variants together"
        limit, kept = budget.max_accuracy_drop, ""
        if limit is not None:
            how = "which proves the limit" if judgement.verdict == "pass" else "shipped unsettled; the limit is"
            kept = f", {how} {limit:g}"
        lost = f"On {entry.evaluation.samples:,} test samples its {entry.evaluation.metric} drop against float32 is"
        parts.append(f"{lost} {written(judgement.proof.drop)} {sure}{kept}.")
    if known and not known.there:
        parts.append(f"There is {known}: this is the first.")
    elif known and champion and champion.failure:
        parts.append(f"It could not be compared with the champion ({known}): {champion.failure}.")
    elif known and judgement.proof.champion_drop:
        shown = written(judgement.proof.champion_drop)
        parts.append(f"Against the champion ({known}) the drop is {shown}: not worse.")
    return " ".join(parts)
