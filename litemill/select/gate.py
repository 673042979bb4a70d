"""The gate: a budget applied to evidence. Only what the samples settle passes."""

from __future__ import annotations

from dataclasses import dataclass

from litemill.config.objective import Objective
from litemill.config.run import Budget
from litemill.evidence import Measurement, Verdict
from litemill.select.candidate import Candidate


@dataclass(frozen=True)
class Check:
    """One limit of the budget on one variant."""

    verdict: Verdict
    reason: str


def settle(value: float, interval: tuple[float, float], limit: float) -> Verdict:
    """Compare a value known up to an interval with an upper limit.

    Returns:
        `pass` where the whole interval keeps the limit, `fail` where all of it breaks it, else `inconclusive`.
    """
    low, high = min(*interval, value), max(*interval, value)
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "inconclusive"


def judge(evidence: Candidate, budget: Budget, objective: Objective) -> tuple[Verdict, list[str]]:
    """Apply a budget to one variant.

    Returns:
        The verdict (the worst of all limits) and the reasons behind it; with no limit broken, the limits kept.
    """
    if evidence.failure:
        return "fail", [evidence.failure]
    checks = [*_wrong_answers(evidence), *_limits(evidence, budget), *_rankable(evidence, objective)]
    for verdict in ("fail", "inconclusive"):
        reasons = [check.reason for check in checks if check.verdict == verdict]
        if reasons:
            return verdict, reasons
    return "pass", [check.reason for check in checks]


def _wrong_answers(evidence: Candidate) -> list[Check]:
    """A variant that answers wrongly on one of its targets is not shipped, whatever its speed."""
    return [
        Check("fail", f"wrong outputs on {target}: {measurement.reason or 'parity failed'}")
        for target, measurement in evidence.measurements.items()
        if measurement.parity is not None and not measurement.parity.ok
    ]


def _limits(evidence: Candidate, budget: Budget) -> list[Check]:
    checks = []
    if budget.max_accuracy_drop is not None:
        checks.append(_accuracy(evidence, budget.max_accuracy_drop))
    if budget.max_size_bytes is not None:
        size, limit = evidence.variant.size_bytes, budget.max_size_bytes
        sign = "within" if size <= limit else "above"
        checks.append(Check("pass" if size <= limit else "fail", f"size {size:,} bytes is {sign} {limit:,}"))
    checks += [_latency(evidence, target, limit) for target, limit in budget.max_latency_ms.items()]
    checks += [_arena(evidence, target, limit) for target, limit in budget.max_arena_bytes.items()]
    return checks


def _accuracy(evidence: Candidate, limit: float) -> Check:
    drop = evidence.evaluation.drop if evidence.evaluation else None
    if drop is None:
        return Check("inconclusive", "accuracy drop unknown: no baseline was evaluated beside it")
    verdict = settle(drop.value, drop.ci, limit)
    how = {"pass": "within", "fail": "above", "inconclusive": "not settled against"}[verdict]
    text = f"accuracy drop {drop.value:.4f} [{drop.ci[0]:.4f}, {drop.ci[1]:.4f}] is {how} {limit:g}"
    return Check(verdict, text + ("; more test samples would settle it" if verdict == "inconclusive" else ""))


def _latency(evidence: Candidate, target: str, limit: float) -> Check:
    measurement = evidence.latency(target)
    if measurement is None:
        reason = _missing(evidence.measurements.get(target), timed=True)
        return Check("inconclusive", f"no latency on {target}: {reason}")
    value = measurement.latency_ms["p50"]
    low, high = measurement.latency_ci_ms.get("p50", (value, value))
    verdict = settle(value, (low, high), limit)
    how = {"pass": "within", "fail": "above", "inconclusive": "not settled against"}[verdict]
    spread = f" [{low:.3g}, {high:.3g}]" if low < high else ""
    return Check(verdict, f"{measurement.kind} p50 on {target} {value:.3g}{spread} ms is {how} {limit:g} ms")


def _arena(evidence: Candidate, target: str, limit: int) -> Check:
    """Memory is the same in every run, so there is no interval to settle."""
    measurement = evidence.measurements.get(target)
    arena = measurement.arena_bytes if measurement and measurement.status == "ok" else None
    if measurement is None or arena is None:
        return Check("inconclusive", f"no arena on {target}: {_missing(measurement)}")
    sign = "within" if arena <= limit else "above"
    verdict: Verdict = "pass" if arena <= limit else "fail"
    return Check(verdict, f"{measurement.kind} arena on {target} {arena:,} bytes is {sign} {limit:,}")


def _rankable(evidence: Candidate, objective: Objective) -> list[Check]:
    """An objective on a target needs that target's figure."""
    if objective.value(evidence) is not None:
        return []
    reason = _missing(evidence.measurements.get(objective.target), timed=objective.kind == "latency")
    return [Check("inconclusive", f"the objective needs a {objective.kind} on {objective.target}: {reason}")]


def _missing(measurement: Measurement | None, *, timed: bool = False) -> str:
    if measurement is None:
        return "it was not measured there"
    if measurement.status == "failed":
        return measurement.reason or "the measurement failed"
    if timed and measurement.kind == "emulated":
        return "an emulated time is neither ranked nor gated"
    return "the target reports none"
