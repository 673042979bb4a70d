"""What each technique brought in this run, as textbooks have it: size, speed, accuracy beside what it started from.

Quantization is held against float32. A train-aware step is held against the control: as much training without it, then
the same conversion; where a run has no control, against the plain conversion, and that is written beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from litemill.config.steps import TRAIN_STEPS
from litemill.report.wording import NOTHING, number, percent
from litemill.select import Candidate
from litemill.select.results import Results, TargetResult, VariantResult

CONTROL = "finetune"
NAMES = {
    (): "quantization after training",
    ("finetune",): "training alone (the control)",
    ("qat",): "quantization-aware training",
    ("prune",): "pruning",
    ("cluster",): "clustering of weights",
    ("cut",): "channel pruning",
}
"""What textbooks call a list of train-aware steps; others are called by their steps."""
FLOAT = "float32"


@dataclass(frozen=True)
class Effect:
    """A row of the table. Ratios are to what it is held against; below 1 is smaller or faster."""

    technique: str
    recipe: str
    steps: str
    against: str
    size: str
    gzip: str
    speeds: list[str]
    stored: list[str]
    accuracy: str


@dataclass(frozen=True)
class Remark:
    """What holds for many variants at once: fusion, delegates."""

    technique: str
    text: str


def effects(results: Results, targets: Sequence[str]) -> list[Effect]:
    """One row a variant, by technique: those on float32 first, then the train-aware ones.

    Args:
        results: What the run found.
        targets: Columns of the speeds.
    """
    usable = [row for row in results.variants if row.status == "ok"]
    found = [(row, _against(row, usable)) for row in usable]
    rows = [_effect(results, row, other, targets) for row, other in found if other is not None]
    order = list(dict.fromkeys([*NAMES.values(), *(row.technique for row in rows)]))
    return sorted(rows, key=lambda row: order.index(row.technique))


def _trained(row: VariantResult) -> list[str]:
    return [step for step in row.steps if step in TRAIN_STEPS]


def _against(row: VariantResult, usable: Sequence[VariantResult]) -> VariantResult | None:
    """What a variant is held against; None for what everything is held against."""
    scheme, trained = row.steps[-1:], _trained(row)
    wanted = [[FLOAT]] if not trained else [scheme, [FLOAT]]
    if trained and trained != [CONTROL]:
        wanted.insert(0, [CONTROL, *scheme])
    for steps in wanted:
        for other in usable:
            if other.steps == steps and other.recipe != row.recipe:
                return other
    return None


def _effect(results: Results, row: VariantResult, other: VariantResult, targets: Sequence[str]) -> Effect:
    trained = _trained(row)
    change = NOTHING
    if row.accuracy is not None and other.accuracy is not None:
        gained = (row.accuracy - other.accuracy) * (1 if results.higher_is_better else -1)
        change = f"{'+' if gained > 0 else ''}{number(gained)}"
    pairs = [(row.measurements.get(target), other.measurements.get(target)) for target in targets]
    return Effect(
        technique=NAMES.get(tuple(trained), " and ".join(NAMES.get((step,), step) for step in trained)),
        recipe=row.recipe,
        steps=" → ".join(row.steps),
        against=other.recipe,
        size=_times(row.size_bytes, other.size_bytes),
        gzip=_times(row.gzip_bytes, other.gzip_bytes),
        speeds=[_speed(own, theirs) for own, theirs in pairs],
        stored=[_stored(own, theirs) for own, theirs in pairs],
        accuracy=change,
    )


def _times(value: float | None, other: float | None) -> str:
    return f"{value / other:.2f}\N{NO-BREAK SPACE}×" if value and other else NOTHING


def _speed(own: TargetResult | None, theirs: TargetResult | None) -> str:
    """Ratio of the medians: of what both are of the same baseline where they have that, as sessions differ."""
    if own is None or own.status == "failed":
        return "does not run" if own else NOTHING
    if theirs is None or theirs.status == "failed":
        return NOTHING
    if own.ratio_to_float32 and theirs.ratio_to_float32:
        return _times(own.ratio_to_float32.value, theirs.ratio_to_float32.value)
    return _times(own.latency_ms.get("p50"), theirs.latency_ms.get("p50"))


def _stored(own: TargetResult | None, theirs: TargetResult | None) -> str:
    both = own is not None and theirs is not None and own.status == theirs.status == "ok"
    if not (own and theirs and both and own.realised_bytes and theirs.realised_bytes):
        return ""
    return f"stored\N{NO-BREAK SPACE}{_times(own.realised_bytes, theirs.realised_bytes)}"


def remarks(results: Results, evidence: Mapping[str, Candidate], targets: Sequence[str]) -> list[Remark]:
    """What fusion did to the graphs, and what delegates took of them."""
    found: list[Remark] = []
    fused: dict[str, list[str]] = {}
    for row in results.variants:
        graph = evidence[row.recipe].variant.graph if row.recipe in evidence else None
        if row.status == "ok" and graph and graph.ops_before:
            folded = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in graph.folded.items())
            text = f"{sum(graph.ops_before.values())} ops became {sum(graph.ops.values())}"
            fused.setdefault(f"{text}{f' (folded: {folded})' if folded else ''}", []).append(row.recipe)
    if fused:
        parts = [f"{text} in {_named(recipes, len(results.variants))}" for text, recipes in fused.items()]
        found.append(Remark("operator fusion", "; ".join(parts)))
    for target in targets:
        shares: dict[str, list[str]] = {}
        for row in results.variants:
            one = row.measurements.get(target)
            if one and one.delegated_fraction is not None and one.status == "ok":
                shares.setdefault(f"{percent(one.delegated_fraction)} of the ops", []).append(row.recipe)
        if shares:
            parts = [f"{share} of {_named(recipes, len(results.variants))}" for share, recipes in shares.items()]
            found.append(Remark(f"delegate on {target}", f"it takes {'; '.join(parts)}"))
    return found


def _named(recipes: Sequence[str], all_of_them: int) -> str:
    """Recipes by name, or how many where they are many."""
    if len(recipes) == all_of_them:
        return "every variant"
    return ", ".join(recipes) if len(recipes) <= 4 else f"{len(recipes)} variants"
