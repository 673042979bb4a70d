"""Each limit of a budget on one variant, and what the evidence says to it."""

from __future__ import annotations

from dataclasses import dataclass

from litemill.config.budget import Budget
from litemill.config.objective import Objective
from litemill.config.target_specs import Quantity
from litemill.evaluate.simultaneous import bonferroni, enough_samples, widened
from litemill.evidence.base import Estimate, Verdict
from litemill.evidence.outcome import Measurement
from litemill.evidence.proof import ClassDrop, Family, Proof
from litemill.select.candidate import Candidate

HOW: dict[Verdict, str] = {"pass": "within", "fail": "above", "inconclusive": "not settled against"}
SIZES = {"max_size_bytes": ("size", "size"), "max_gzip_bytes": ("gzip", "gzip size")}
"""Limits on the file: the property of a candidate, and what it is called."""
AMOUNTS: dict[Quantity, tuple[str, str]] = {
    "size": ("stored", "size stored"),
    "arena": ("arena", "arena"),
    "memory": ("memory", "peak memory"),
}
"""Quantities in bytes: the method of a candidate, and what it is called."""


@dataclass(frozen=True)
class Check:
    """One limit on one variant.

    Attributes:
        verdict: Whether it is kept.
        reason: In words.
        key: Of the budget; or `outputs`, `objective`, `champion`.
        lacking: Whether it is inconclusive because evidence is missing, which more samples would not bring.
    """

    verdict: Verdict
    reason: str
    key: str
    lacking: bool = False


def settle(value: float, interval: tuple[float, float], limit: float) -> Verdict:
    """Compare a value known up to an interval with an upper limit.

    Returns:
        `pass` where the whole interval keeps the limit, `fail` where all of it breaks it, else `inconclusive`.
    """
    low, high = min(*interval, value), max(*interval, value)
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "inconclusive"


@dataclass(frozen=True)
class Limits:
    """The limits on one variant."""

    one: Candidate
    budget: Budget
    proof: Proof
    family: Family

    def wrong_answers(self) -> list[Check]:
        """A variant that answers wrongly on one of its targets is not shipped, whatever its speed."""
        return [
            Check("fail", f"wrong outputs on {target}: {measurement.reason or 'parity failed'}", "outputs")
            for target, measurement in self.one.measurements.items()
            if measurement.parity is not None and not measurement.parity.ok
        ]

    def limits(self) -> list[Check]:
        """Each limit of the budget."""
        budget, checks = self.budget, []
        if budget.max_accuracy_drop is not None:
            checks.append(self.drop("accuracy drop", self.proof.drop, budget.max_accuracy_drop, "max_accuracy_drop"))
        if budget.min_accuracy is not None:
            checks.append(self._least(budget.min_accuracy))
        if budget.max_class_drop is not None:
            checks.append(self.class_drop(self.proof.class_drop, budget.max_class_drop, "max_class_drop"))
        for key, (name, words) in SIZES.items():
            if (limit := getattr(budget, key)) is not None:
                checks.append(_bytes(words, getattr(self.one, name), limit, key))
        for key, quantity, target, bound in budget.by_target():
            checks.append(self._on_target(key, quantity, target, bound))
        return checks

    def rankable(self, objective: Objective) -> list[Check]:
        """An objective needs its figure."""
        if objective.value(self.one) is not None:
            return []
        place = f" on {objective.target}" if objective.target else ""
        timed = objective.kind == "latency"
        known = self.one.measurements.get(objective.target)
        reason = _missing(known, timed=timed) if objective.target else "its graph was not read"
        return [
            Check("inconclusive", f"the objective needs a {objective.kind}{place}: {reason}", "objective", lacking=True)
        ]

    def drop(self, what: str, drop: Estimate | None, limit: float, key: str) -> Check:
        """A limit on the loss of the metric."""
        if drop is None:
            reason = f"{what} unknown: no baseline was evaluated beside it"
            return Check("inconclusive", reason, key, lacking=True)
        verdict = settle(drop.value, drop.ci, limit)
        return Check(
            verdict, f"{what} {written(drop)} is {HOW[verdict]} {limit:g}{self._more(drop, limit, verdict)}", key
        )

    def _least(self, limit: float) -> Check:
        found = self.proof.accuracy
        if found is None:
            reason = "the interval of the metric is unknown: there are no figures for each sample"
            return Check("inconclusive", reason, "min_accuracy", lacking=True)
        turned = Estimate(value=-found.value, ci=(-found.ci[1], -found.ci[0]))
        verdict = settle(turned.value, turned.ci, -limit)
        how = {"pass": "at least", "fail": "below", "inconclusive": HOW["inconclusive"]}[verdict]
        metric = self.one.evaluation.metric if self.one.evaluation else "metric"
        more = self._more(turned, -limit, verdict)
        return Check(verdict, f"{metric} {written(found)} is {how} {limit:g}{more}", "min_accuracy")

    def class_drop(self, found: ClassDrop | None, limit: float, key: str, against: str = "") -> Check:
        """A limit on what the worst class loses."""
        if found is None:
            reason = f"drop of the worst class{against} unknown: there are no figures for each sample and class"
            return Check("inconclusive", reason, key, lacking=True)
        verdict = settle(found.drop.value, found.drop.ci, limit)
        what = f"{found.figure} drop of the worst class ({found.index}){against}"
        more = self._more(found.drop, limit, verdict)
        return Check(verdict, f"{what} {written(found.drop)} is {HOW[verdict]} {limit:g}{more}", key)

    def _more(self, estimate: Estimate, limit: float, verdict: Verdict) -> str:
        """How many samples would settle it."""
        if verdict != "inconclusive":
            return ""
        samples = self.one.evaluation.samples if self.one.evaluation else 0
        needed = enough_samples(samples, estimate, limit)
        if needed is None:
            return "; it lies on the limit, which no number of test samples settles"
        return f"; about {needed:,} test samples would settle it, there are {samples:,}"

    def _on_target(self, key: str, quantity: Quantity, target: str, limit: float) -> Check:
        if quantity == "latency":
            return self._latency(target, limit)
        measurement = self.one.measurements.get(target)
        kind = measurement.kind if measurement else ""
        if quantity == "delegation":
            share = self.one.delegated(target)
            if share is None:
                reason = f"share of delegated ops on {target} unknown: {_missing(measurement)}"
                return Check("inconclusive", reason, key, lacking=True)
            keeps = share >= limit
            how = "at least" if keeps else "below"
            text = f"{kind} share of delegated ops on {target} {share:.3g} is {how} {limit:g}"
            return Check("pass" if keeps else "fail", text, key)
        method, words = AMOUNTS[quantity]
        value = getattr(self.one, method)(target)
        if value is None:
            reason = f"no {words} on {target}: {_missing(measurement, timed=quantity == 'memory')}"
            return Check("inconclusive", reason, key, lacking=True)
        return _bytes(f"{kind} {words} on {target}", value, int(limit), key)

    def _latency(self, target: str, limit: float) -> Check:
        measurement = self.one.latency(target)
        if measurement is None:
            reason = _missing(self.one.measurements.get(target), timed=True)
            return Check("inconclusive", f"no latency on {target}: {reason}", "max_latency_ms", lacking=True)
        value = measurement.latency_ms["p50"]
        alone = Estimate(value=value, ci=measurement.latency_ci_ms.get("p50", (value, value)))
        # Sessions know nothing of each other's samples: Bonferroni holds for any number of them.
        critical = bonferroni(self.family.variants, self.budget.confidence)
        together = widened(alone, critical, blocks=int(measurement.details.get("episodes", 0)))
        low, high = together.ci
        verdict = settle(value, (low, high), limit)
        spread = f" [{low:.3g}, {high:.3g}]" if low < high else ""
        more = ""
        if verdict == "inconclusive" and (times := enough_samples(10, together, limit)):
            more = f"; a measurement about {times / 10:.2g} times as long would settle it"
        text = f"{measurement.kind} p50 on {target} {value:.3g}{spread} ms is {HOW[verdict]} {limit:g} ms{more}"
        return Check(verdict, text, "max_latency_ms")


def written(found: Estimate) -> str:
    """A value with its interval."""
    return f"{found.value:.4f} [{found.ci[0]:.4f}, {found.ci[1]:.4f}]"


def _bytes(what: str, value: int, limit: int, key: str) -> Check:
    """Bytes are the same in every run, so there is no interval to settle."""
    keeps = value <= limit
    sign = "within" if keeps else "above"
    return Check("pass" if keeps else "fail", f"{what} {value:,} bytes is {sign} {limit:,}", key)


def _missing(measurement: Measurement | None, *, timed: bool = False) -> str:
    if measurement is None:
        return "it was not measured there"
    if measurement.status == "failed":
        return measurement.reason or "the measurement failed"
    if timed and measurement.kind == "emulated":
        return "an emulated time is neither ranked nor gated"
    return "the target reports none"
