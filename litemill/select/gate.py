"""The gate: a budget applied to evidence. Only what the samples settle passes."""

from __future__ import annotations

from dataclasses import dataclass, field

from litemill.config.budget import Budget
from litemill.config.objective import Objective
from litemill.evidence.base import Estimate, Verdict
from litemill.evidence.proof import Family, Proof
from litemill.select.candidate import Candidate
from litemill.select.limits import HOW, Check, Limits, written


@dataclass(frozen=True)
class Ruling:
    """What the gate says about a variant.

    Attributes:
        verdict: The worst of all limits.
        reasons: Those behind it; with no limit broken, the limits kept.
        refused_by: Keys of the limits that are not kept.
        admissible: Whether it may be shipped: with `on_inconclusive: pass` also what the samples do not settle.
    """

    verdict: Verdict
    reasons: list[str]
    refused_by: list[str] = field(default_factory=list)
    admissible: bool = False


def judge(
    evidence: Candidate,
    budget: Budget,
    objective: Objective,
    *,
    proof: Proof | None = None,
    family: Family | None = None,
    champion: Candidate | None = None,
) -> Ruling:
    """Apply a budget to one variant.

    Args:
        evidence: Of the variant.
        budget: The limits.
        objective: What is minimised, which has to be known of it.
        proof: The intervals to go by; the evaluation's own without it.
        family: How many variants are judged together.
        champion: What it must not be worse than.
    """
    if evidence.failure:
        return Ruling("fail", [evidence.failure], ["failed"])
    proof = proof or Proof(drop=evidence.evaluation.drop if evidence.evaluation else None)
    limits = Limits(evidence, budget, proof, family or Family(variants=1))
    checks = [*limits.wrong_answers(), *limits.limits(), *limits.rankable(objective)]
    if champion and champion.variant.champion and champion.variant.champion.there:
        checks += _beside(limits, champion, objective)
    refused_by = list(dict.fromkeys(check.key for check in checks if check.verdict != "pass"))
    for verdict in HOW:
        reasons = [check.reason for check in checks if check.verdict == verdict]
        if verdict != "pass" and reasons:
            lacking = any(check.lacking for check in checks if check.verdict == verdict)
            admissible = verdict == "inconclusive" and budget.on_inconclusive == "pass" and not lacking
            return Ruling(verdict, reasons, refused_by, admissible)
    return Ruling("pass", [check.reason for check in checks], [], admissible=True)


def _beside(limits: Limits, champion: Candidate, objective: Objective) -> list[Check]:
    """It must not be worse than the champion: not in what the budget limits, nor in what is minimised."""
    name = str(champion.variant.champion)
    if champion.failure:
        return [Check("inconclusive", f"not compared with the champion ({name}): {champion.failure}", "champion")]
    against = f" against the champion ({name})"
    drop, limit = limits.proof.champion_drop, limits.budget.max_accuracy_drop
    if drop is None:
        reason = f"accuracy drop{against} unknown: there are no figures for each sample"
        return [Check("inconclusive", reason, "champion", lacking=True)]
    if limit is not None:
        checks = [limits.drop(f"accuracy drop{against}", drop, limit, "champion")]
    else:
        worse = drop.ci[0] > 0
        words = "shows that it is worse" if worse else "does not show it to be worse"
        checks = [Check("fail" if worse else "pass", f"accuracy drop{against} {written(drop)} {words}", "champion")]
    if limits.budget.max_class_drop is not None:
        found = limits.proof.champion_class_drop
        checks.append(limits.class_drop(found, limits.budget.max_class_drop, "champion", against))
    return [*checks, *_cost_beside(limits.one, champion, objective, drop)]


def _cost_beside(one: Candidate, champion: Candidate, objective: Objective, drop: Estimate) -> list[Check]:
    """What is minimised must not be more than the champion's, unless the variant is shown to be more accurate."""
    own, theirs = objective.value(one), objective.value(champion)
    if own is None or theirs is None:
        return []
    name, more = str(champion.variant.champion), own > theirs
    found = one.latency(objective.target) if objective.kind == "latency" else None
    if found and found.ratio_to_champion:
        low, high = found.ratio_to_champion.ci
        more = low > 1
        what = f"p50 on {objective.target} {found.ratio_to_champion.value:.2f} [{low:.2f}, {high:.2f}] times"
        text = f"{what} that of the champion ({name})"
    else:
        how = "more than" if more else "at most"
        text = f"{objective.written(own)} is {how} the champion's {objective.written(theirs)} ({name})"
    if not more:
        return [Check("pass", text, "champion")]
    if drop.ci[1] < 0:
        return [Check("pass", f"{text}, but it is shown to be more accurate", "champion")]
    return [Check("fail", f"{text}, and it is not shown to be more accurate", "champion")]
