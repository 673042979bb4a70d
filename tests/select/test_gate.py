"""The gate: each key of the budget refuses with a reason of its own, and the winner is not worse than the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.artifacts.files import write_manifest
from litemill.artifacts.layout import EVALUATION, SAMPLES
from litemill.config.budget import Budget
from litemill.config.run import BASELINE, CHAMPION
from litemill.evaluate.pairs import Samples, paired_drop
from litemill.evidence.base import Estimate
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.graph import GraphReport
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.variant import VariantManifest
from litemill.select import Candidate, build_results, select

COUNT = 2000
LABELS = np.arange(COUNT) % 4
BASE = np.arange(COUNT) >= 100
"""The baseline gets the first 100 samples wrong."""


def answers(lost: int = 0, *, of_class: int | None = None) -> NDArray[np.bool_]:
    """Whether a variant is right: it loses so many more than the baseline, of all classes or of one."""
    right = BASE.copy()
    rows = np.flatnonzero(BASE & (of_class == LABELS if of_class is not None else True))
    right[rows[:lost]] = False
    return right


def candidate(folder: Path, recipe: str, right: NDArray[np.bool_], **more: Any) -> Candidate:
    """A variant with its samples on disk; `more` are fields of its manifest and its measurements."""
    place = folder / recipe
    place.mkdir(parents=True)
    prediction = np.where(right, LABELS, (LABELS + 1) % 4)
    np.savez_compressed(place / SAMPLES, outcome=right, prediction=prediction, target=np.empty(0), label=LABELS)
    evaluation = Evaluation(recipe=recipe, samples=COUNT, value=float(right.mean()), data_sha256="test")
    found, base = (Samples(one, one, np.empty(0)) for one in (right, BASE))
    if recipe != BASELINE:
        evaluation.drop = paired_drop(evaluation, base, found)
    write_manifest(place / EVALUATION, evaluation)
    measurements = more.pop("measurements", {})
    fields: dict[str, Any] = {"size_bytes": 1000, "gzip_bytes": 800, "sha256": recipe}
    manifest = VariantManifest(recipe=recipe, steps=["int8"], scheme="int8", **(fields | more))
    return Candidate(
        variant=manifest, evaluation=evaluation, measurements=measurements, files=[place / SAMPLES, place / EVALUATION]
    )


def champion(folder: Path, right: NDArray[np.bool_], **more: Any) -> Candidate:
    return candidate(folder, CHAMPION, right, champion=ChampionVersion(name="door", version="3", sha256="c"), **more)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    candidate(tmp_path / "reference", BASELINE, BASE)
    return tmp_path / "reference"


def measured(**found: Any) -> dict[str, Measurement]:
    return {"npu": Measurement(recipe="r", target="npu", **found)}


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"max_accuracy_drop": 0.01}, "accuracy drop 0.0500 ["),
        ({"min_accuracy": 0.95}, "top1 0.9000 ["),
        ({"max_class_drop": 0.1}, "accuracy drop of the worst class (2) 0.2000 ["),
        ({"max_size_bytes": 999}, "size 1,000 bytes is above 999"),
        ({"max_gzip_bytes": 799}, "gzip size 800 bytes is above 799"),
        ({"max_stored_bytes": {"npu": 600}}, "estimated size stored on npu 700 bytes is above 600"),
        ({"max_arena_bytes": {"npu": 50}}, "estimated arena on npu 60 bytes is above 50"),
        ({"max_memory_bytes": {"npu": 80}}, "estimated peak memory on npu 90 bytes is above 80"),
        ({"max_latency_ms": {"npu": 1.0}}, "estimated p50 on npu 2 ms is above 1 ms"),
        ({"min_delegated_fraction": {"npu": 0.9}}, "estimated share of delegated ops on npu 0.75 is below 0.9"),
    ],
)
def test_every_key_of_the_budget_refuses_by_name(
    budget: dict[str, Any], reason: str, tmp_path: Path, reference: Path
) -> None:
    found = measured(
        kind="estimated",
        realised_bytes=700,
        arena_bytes=60,
        peak_memory_bytes=90,
        latency_ms={"p50": 2.0},
        delegated_fraction=0.75,
    )
    one = candidate(tmp_path, "int8", answers(100, of_class=2), measurements=found)
    limits = Budget.model_validate(budget)
    selection = select([one], limits, "size", reference=reference)
    judgement = selection.judgements[0]
    assert (judgement.verdict, selection.winner) == ("fail", "")
    assert judgement.reasons[0].startswith(reason)
    assert judgement.refused_by == list(budget)
    row = build_results("run", [one], selection, limits, "size").variants[0]
    assert row.refused_by == list(budget)
    assert limits.phrases()


@pytest.mark.parametrize("key", ["max_stored_bytes", "max_arena_bytes", "max_memory_bytes", "min_delegated_fraction"])
def test_a_limit_on_what_a_target_does_not_tell_is_never_kept(key: str, tmp_path: Path) -> None:
    one = candidate(tmp_path, "int8", BASE, measurements=measured(status="failed", reason="unreachable"))
    for on_inconclusive in ("fail", "pass"):
        budget = Budget.model_validate({key: {"npu": 1}, "on_inconclusive": on_inconclusive})
        selection = select([one], budget, "size")
        assert (selection.judgements[0].verdict, selection.winner) == ("inconclusive", "")
        assert selection.judgements[0].reasons[0].endswith("unreachable")


def test_what_samples_do_not_settle_ships_only_where_the_budget_says_so(tmp_path: Path, reference: Path) -> None:
    one = candidate(tmp_path, "int8", answers(18))
    refused = select([one], Budget(max_accuracy_drop=0.01), "size", reference=reference)
    assert (refused.judgements[0].verdict, refused.winner) == ("inconclusive", "")
    assert "about " in refused.judgements[0].reasons[0] and "there are 2,000" in refused.judgements[0].reasons[0]
    shipped = select([one], Budget(max_accuracy_drop=0.01, on_inconclusive="pass"), "size", reference=reference)
    assert (shipped.judgements[0].verdict, shipped.winner, shipped.judgements[0].rank) == ("inconclusive", "int8", 1)
    worse = candidate(tmp_path, "ruined", answers(400), size_bytes=10)
    assert select([worse, one], Budget(max_accuracy_drop=0.01, on_inconclusive="pass"), "size").winner == "int8"


def test_the_confidence_of_the_budget_sets_the_width(tmp_path: Path, reference: Path) -> None:
    one = [candidate(tmp_path, f"v{at}", answers(10 * at)) for at in range(1, 4)]
    widths = []
    for confidence in (0.8, 0.95, 0.99):
        selection = select(one, Budget(confidence=confidence), "size", reference=reference)
        drop = selection.judgements[0].proof.drop
        assert drop is not None and selection.family.method == "max-T"
        widths.append(drop.ci[1] - drop.ci[0])
    assert widths == sorted(widths)
    alone = one[0].evaluation.drop if one[0].evaluation else None
    assert alone is not None and widths[1] > alone.ci[1] - alone.ci[0]


def test_a_variant_worse_than_the_champion_is_refused_and_one_as_good_is_not(tmp_path: Path, reference: Path) -> None:
    rival = champion(tmp_path, answers(0))
    bad, good = candidate(tmp_path, "bad", answers(160), size_bytes=500), candidate(tmp_path, "good", answers(4))
    budget = Budget(max_accuracy_drop=0.02)
    selection = select([bad, good], budget, "size", champion=rival, reference=reference)
    assert selection.winner == "good"
    assert selection.judgements[0].refused_by == ["max_accuracy_drop", "champion"]
    assert "against the champion (door version 3)" in selection.judgements[0].reasons[1]
    results = build_results("run", [bad, good], selection, budget, "size", champion=rival)
    assert results.champion and results.champion.version.version == "3"
    assert "Against the champion (door version 3)" in results.decision
    assert [row.recipe for row in results.variants] == ["good", "bad"]


def test_more_bytes_than_the_champion_need_proof_of_more_accuracy(tmp_path: Path, reference: Path) -> None:
    weak = champion(tmp_path, answers(200), size_bytes=900)
    better, equal = candidate(tmp_path, "better", answers(0)), candidate(tmp_path, "equal", answers(200))
    selection = select([better, equal], Budget(), "size", champion=weak, reference=reference)
    assert [one.verdict for one in selection.judgements] == ["pass", "fail"]
    assert selection.judgements[1].reasons == [
        "1,000 bytes is more than the champion's 900 bytes (door version 3), and it is not shown to be more accurate"
    ]


def test_the_champion_s_own_file_loses_nothing_against_it(tmp_path: Path, reference: Path) -> None:
    rival = champion(tmp_path, answers(5))
    same = candidate(tmp_path, "same", answers(5), sha256=CHAMPION)
    budget = Budget(max_accuracy_drop=0.02, max_class_drop=0.2)
    selection = select([same], budget, "size", champion=rival, reference=reference)
    proof = selection.judgements[0].proof
    assert selection.winner == "same" and proof.champion_drop and proof.champion_class_drop
    assert proof.champion_drop.ci == proof.champion_class_drop.drop.ci == (0.0, 0.0)


def test_a_slower_variant_than_the_champion_is_seen_in_the_same_session(tmp_path: Path, reference: Path) -> None:
    def timed(ratio: tuple[float, float, float]) -> dict[str, Measurement]:
        between = Estimate(value=ratio[0], ci=ratio[1:])
        return measured(latency_ms={"p50": 1.0}, ratio_to_champion=between)

    rival = champion(tmp_path, BASE, measurements=measured(latency_ms={"p50": 9.0}))
    slow = candidate(tmp_path, "slow", BASE, measurements=timed((1.2, 1.1, 1.3)))
    level = candidate(tmp_path, "level", BASE, measurements=timed((1.02, 0.97, 1.08)))
    selection = select([slow, level], Budget(), "latency:npu", champion=rival, reference=reference)
    assert [one.verdict for one in selection.judgements] == ["fail", "pass"]


def test_a_first_run_says_that_there_is_no_champion_and_a_broken_one_stops_the_rest(tmp_path: Path) -> None:
    one = candidate(tmp_path, "int8", BASE)
    none = Candidate(
        variant=VariantManifest(
            recipe=CHAMPION, steps=[], scheme="", champion=ChampionVersion(name="door"), status="failed", reason="none"
        )
    )
    selection = select([one], Budget(), "size", champion=none)
    assert selection.winner == "int8"
    decision = build_results("run", [one], selection, Budget(), "size", champion=none).decision
    assert decision.endswith("There is no champion of door yet: this is the first.")
    broken = none.model_copy(
        update={"variant": none.variant.model_copy(update={"champion": ChampionVersion(name="door", version="1")})}
    )
    selection = select([one], Budget(), "size", champion=broken)
    assert (selection.winner, selection.judgements[0].refused_by) == ("", ["champion"])
    assert select([one], Budget(on_inconclusive="pass"), "size", champion=broken).winner == "int8"


def test_the_objectives_rank_by_what_they_name(tmp_path: Path) -> None:
    def made(recipe: str, *, macs: int, gzip: int, memory: int, arena: int) -> Candidate:
        graph = GraphReport(ops={}, inputs=[], outputs=[], sparsity=0.0, macs=macs)
        found = measured(peak_memory_bytes=memory, arena_bytes=arena)
        return candidate(tmp_path, recipe, BASE, graph=graph, gzip_bytes=gzip, measurements=found)

    one = made("lean", macs=10, gzip=700, memory=90, arena=10)
    other = made("small", macs=20, gzip=300, memory=50, arena=30)
    won = {
        objective: select([one, other], Budget(), objective).reason
        for objective in ("macs", "gzip", "memory:npu", "arena:npu")
    }
    assert won == {
        "macs": "lean is the one with the fewest multiply-accumulates of 2 admissible variants: 10 MACs",
        "gzip": "small is the smallest download of 2 admissible variants: 300 bytes compressed",
        "memory:npu": "small is the one with the least peak memory on npu of 2 admissible variants: "
        "50 bytes of peak memory (measured)",
        "arena:npu": "lean is the one with the smallest arena on npu of 2 admissible variants: "
        "10 bytes of arena (measured)",
    }
