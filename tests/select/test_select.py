"""Selection: hand-made evidence with known outcomes, and properties that hold for any."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litemill.config.run import Budget
from litemill.evidence.base import Estimate
from litemill.evidence.outcome import Evaluation, Measurement, Parity
from litemill.evidence.variant import VariantManifest
from litemill.select import Candidate, build_results, pareto_front, select, settle
from litemill.select.results import Results


def variant(
    recipe: str,
    size: int = 1000,
    drop: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    gzip: int | None = None,
    **latencies: Measurement,
) -> Candidate:
    """Evidence of a variant; `drop` is the value with its interval."""
    estimate = None if drop is None else Estimate(value=drop[0], ci=drop[1:])
    return Candidate(
        variant=VariantManifest(
            recipe=recipe, steps=[recipe], scheme=recipe, size_bytes=size, gzip_bytes=gzip or size // 2
        ),
        evaluation=Evaluation(recipe=recipe, samples=1000, value=0.9 - (drop[0] if drop else 0), drop=estimate),
        measurements=latencies,
    )


def measured(p50: float, ratio: tuple[float, float, float] | None = None, **more: Any) -> Measurement:
    given_ratio = None if ratio is None else Estimate(value=ratio[0], ci=ratio[1:])
    fields: dict[str, Any] = {"recipe": "r", "target": "host", "latency_ms": {"p50": p50, "p90": p50 * 1.1}}
    return Measurement(**(fields | {"ratio_to_float32": given_ratio} | more))


@pytest.mark.parametrize(
    ("value", "interval", "verdict"),
    [
        (0.005, (0.001, 0.01), "pass"),
        (0.005, (0.001, 0.0101), "inconclusive"),
        (0.02, (0.011, 0.03), "fail"),
        (0.02, (0.01, 0.03), "inconclusive"),
        (-0.01, (-0.02, 0.0), "pass"),
    ],
)
def test_a_limit_is_settled_only_by_the_whole_interval(
    value: float, interval: tuple[float, float], verdict: str
) -> None:
    assert settle(value, interval, limit=0.01) == verdict


def test_only_a_pass_is_admissible_and_the_smallest_of_them_wins() -> None:
    evidence = [
        variant("float32", size=4000),
        variant("int8", size=1000, drop=(0.004, 0.001, 0.008)),
        variant("unsettled", size=500, drop=(0.008, 0.001, 0.02)),
        variant("ruined", size=100, drop=(0.3, 0.28, 0.32)),
    ]
    selection = select(evidence, Budget(max_accuracy_drop=0.01), "size")
    assert selection.winner == "int8"
    assert selection.reason == "int8 is the smallest of 2 admissible variants: 1,000 bytes"
    assert {answered.recipe: (answered.verdict, answered.rank) for answered in selection.judgements} == {
        "float32": ("pass", 2),
        "int8": ("pass", 1),
        "unsettled": ("inconclusive", None),
        "ruined": ("fail", None),
    }
    reasons = {answered.recipe: answered.reasons for answered in selection.judgements}
    assert reasons["unsettled"] == [
        "accuracy drop 0.0080 [-0.0009, 0.0233] is not settled against 0.01; about 59,000 test samples would settle it,"
        " there are 1,000"
    ]
    assert reasons["ruined"] == ["accuracy drop 0.3000 [0.2745, 0.3255] is above 0.01"]


def test_equal_files_are_told_apart_by_their_compressed_size() -> None:
    evidence = [variant("int8", gzip=800), variant("pruned-int8", gzip=500)]
    selection = select(evidence, Budget(), "size")
    assert selection.winner == "pruned-int8"
    assert [answered.pareto for answered in selection.judgements] == [False, True]


def test_a_failed_recipe_is_carried_through_with_its_reason() -> None:
    broken = Candidate(
        variant=VariantManifest(recipe="bad", steps=["int8"], scheme="int8", status="failed", reason="scale is 0.0")
    )
    selection = select([broken, variant("int8")], Budget(), "size")
    results = build_results("run", [broken, variant("int8")], selection, Budget(), "size")
    assert [row.recipe for row in results.variants] == ["int8", "bad"]
    assert results.variants[1].model_dump(include={"status", "reason", "verdict", "pareto", "accuracy", "rank"}) == {
        "status": "failed",
        "reason": "scale is 0.0",
        "verdict": "fail",
        "pareto": False,
        "accuracy": None,
        "rank": None,
    }


def test_no_admissible_variant_is_said_so() -> None:
    selection = select([variant("a", size=3000), variant("b", drop=None)], Budget(max_size_bytes=2000), "size")
    assert selection.winner == "b"
    budget = Budget(max_size_bytes=2000, max_accuracy_drop=0.01)
    selection = select([variant("a", size=3000), variant("b", drop=None)], budget, "size")
    assert (selection.winner, selection.reason) == ("", "no variant is admissible: 1 of 2 fail, 1 inconclusive")
    assert select([], budget, "size").reason == "there is no variant to judge"


def test_latency_is_ranked_by_the_ratio_and_noise_is_named() -> None:
    """Two bundles measured in two sessions: the second machine state was twice as slow, its ratios still compare."""
    evidence = [
        variant("int8", host=measured(1.0, (0.80, 0.78, 0.82))),
        variant("qat", host=measured(1.9, (0.79, 0.77, 0.81))),
        variant("float16", host=measured(1.2, (1.0, 0.98, 1.02))),
    ]
    selection = select(evidence, Budget(), "latency:host")
    assert [answered.rank for answered in selection.judgements] == [2, 1, 3]
    assert selection.reason == (
        "qat is the fastest on host of 3 admissible variants: p50 1.9 ms (measured); within the noise of it: int8"
    )


def test_a_latency_limit_uses_the_interval_of_the_median() -> None:
    clear, vague = measured(0.9, latency_ci_ms={"p50": (0.85, 0.95)}), measured(0.9, latency_ci_ms={"p50": (0.8, 1.1)})
    slow = measured(1.5, latency_ci_ms={"p50": (1.4, 1.6)})
    evidence = [variant("clear", host=clear), variant("vague", host=vague), variant("slow", host=slow)]
    selection = select(evidence, Budget(max_latency_ms={"host": 1.0}), "size")
    assert [answered.verdict for answered in selection.judgements] == ["pass", "inconclusive", "fail"]
    assert selection.judgements[1].reasons == [
        "measured p50 on host 0.9 [0.778, 1.14] ms is not settled against 1 ms; "
        "a measurement about 6 times as long would settle it"
    ]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, "no latency on pi: it was not measured there"),
        ({"pi": measured(0.1, kind="emulated")}, "no latency on pi: an emulated time is neither ranked nor gated"),
        ({"pi": measured(0.1, status="failed", reason="unreachable")}, "no latency on pi: unreachable"),
        ({"host": measured(0.1)}, "no latency on pi: it was not measured there"),
    ],
)
def test_a_latency_limit_is_never_met_by_a_number_that_does_not_count(
    found: dict[str, Measurement], reason: str
) -> None:
    judgement = select([variant("int8", **found)], Budget(max_latency_ms={"pi": 1.0}), "size").judgements[0]
    assert (judgement.verdict, judgement.reasons) == ("inconclusive", [reason])


def stored(recipe: str, realised: int | None, arena: int | None = None, **more: Any) -> Candidate:
    """A variant of 1,000 bytes on an NPU that stores it in its own way; nothing is timed."""
    found = Measurement(recipe=recipe, target="npu", realised_bytes=realised, arena_bytes=arena, **more)
    return variant(recipe, npu=found)


def test_an_arena_limit_is_settled_by_the_arena_alone() -> None:
    evidence = [
        stored("fits", 1000, 65_536),
        stored("large", 1000, 65_552, kind="estimated"),
        stored("untold", 1000),
        stored("refused", None, status="failed", reason="TFLM refuses it"),
        variant("elsewhere"),
    ]
    selection = select(evidence, Budget(max_arena_bytes={"npu": 65_536}), "size")
    assert selection.winner == "fits"
    assert [(answered.verdict, answered.reasons) for answered in selection.judgements] == [
        ("pass", ["measured arena on npu 65,536 bytes is within 65,536"]),
        ("fail", ["estimated arena on npu 65,552 bytes is above 65,536"]),
        ("inconclusive", ["no arena on npu: the target reports none"]),
        ("inconclusive", ["no arena on npu: TFLM refuses it"]),
        ("inconclusive", ["no arena on npu: it was not measured there"]),
    ]


def test_a_size_objective_on_a_target_ranks_by_what_it_stores() -> None:
    """The files are equally large; what the target makes of them is not."""
    evidence = [
        stored("int8", 900, kind="estimated"),
        stored("pruned-int8", 600, kind="estimated"),
        stored("float32", None, status="failed", reason="no op of it runs on the NPU"),
    ]
    selection = select(evidence, Budget(), "size:npu")
    assert selection.reason == (
        "pruned-int8 is the smallest on npu of 2 admissible variants: 600 bytes stored (estimated)"
    )
    assert [(answered.verdict, answered.rank, answered.pareto) for answered in selection.judgements] == [
        ("pass", 2, False),
        ("pass", 1, True),
        ("inconclusive", None, False),
    ]
    assert selection.judgements[2].reasons == ["the objective needs a size on npu: no op of it runs on the NPU"]


def test_an_emulated_device_times_nothing_but_stores_what_it_stores() -> None:
    evidence = [stored("int8", 900, 500, kind="emulated")]
    assert select(evidence, Budget(max_arena_bytes={"npu": 500}), "size:npu").winner == "int8"
    assert select(evidence, Budget(), "latency:npu").winner == ""


def test_a_latency_objective_needs_that_latency() -> None:
    selection = select([variant("int8"), variant("f", host=measured(2.0))], Budget(), "latency:host")
    assert selection.winner == "f"
    assert selection.judgements[0].reasons == ["the objective needs a latency on host: it was not measured there"]


def test_wrong_outputs_on_a_target_are_never_shipped() -> None:
    parity = Parity(reference="xnnpack", samples=8, max_error=0.7, agreement=0.5, ok=False)
    wrong = measured(0.1, status="failed", reason="outputs differ by 0.7 of their spread", parity=parity)
    judgement = select([variant("int8", pi=wrong)], Budget(), "size").judgements[0]
    assert judgement.verdict == "fail"
    assert judgement.reasons == ["wrong outputs on pi: outputs differ by 0.7 of their spread"]


def test_results_are_read_back_and_tolerate_fields_of_a_newer_version() -> None:
    evidence = [variant("int8", host=measured(1.0, (0.8, 0.7, 0.9), actual_accelerator="cpu"))]
    results = build_results("run", evidence, select(evidence, Budget(), "size"), Budget(), "size", "abc")
    text = results.model_dump_json().replace('{"schema_version":1', '{"new_field":2,"schema_version":1')
    assert Results.model_validate_json(text) == results
    row = results.model_dump()["variants"][0]
    assert {"recipe", "steps", "status", "reason", "accuracy", "accuracy_drop", "metric", "size_bytes"} <= set(row)
    assert {"gzip_bytes", "sha256", "sparsity", "verdict", "pareto", "measurements"} <= set(row)
    assert row["measurements"]["host"]["ratio_to_float32"]["ci"] == (0.7, 0.9)
    assert row["measurements"]["host"]["accelerator"] == "cpu"


points = st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=20)


@given(points)
def test_the_front_is_what_the_definition_says(found: list[tuple[int, ...]]) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    assert pareto_front(found) == [not any(dominates(other, point) for other in found) for point in found]


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(-0.1, 0.1), st.floats(0, 0.05)), min_size=1, max_size=8))
def test_the_winner_passed_and_nothing_admissible_is_smaller(rows: list[tuple[int, float, float]]) -> None:
    evidence = [
        variant(f"r{index}", size=size, drop=(drop, drop - half, drop + half))
        for index, (size, drop, half) in enumerate(rows)
    ]
    selection = select(evidence, Budget(max_accuracy_drop=0.01), "size")
    passed = {answered.recipe for answered in selection.judgements if answered.verdict == "pass"}
    sizes = {entry.recipe: entry.variant.size_bytes for entry in evidence}
    assert (selection.winner in passed) == bool(passed)
    assert sizes.get(selection.winner, math.inf) == min((sizes[name] for name in passed), default=math.inf)
