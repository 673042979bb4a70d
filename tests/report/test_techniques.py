"""The table of techniques: each variant is held against what it started from, in this run's own figures."""

from __future__ import annotations

from litemill.evidence.base import Estimate
from litemill.report.techniques import effects
from litemill.select.results import Results, TargetResult, VariantResult


def row(recipe: str, steps: list[str], size: int, gzip: int, accuracy: float, ratio: float) -> VariantResult:
    timed = TargetResult(latency_ms={"p50": ratio}, ratio_to_float32=Estimate(value=ratio, ci=(ratio, ratio)))
    return VariantResult(
        recipe=recipe,
        steps=steps,
        size_bytes=size,
        gzip_bytes=gzip,
        accuracy=accuracy,
        measurements={"host": timed, "npu": TargetResult(status="failed", reason="refused")},
    )


FLOAT = row("plain", ["float32"], 400, 380, 0.90, 1.0)
INT8 = row("small", ["int8"], 100, 80, 0.89, 1.2)
CONTROL = row("control", ["finetune", "int8"], 100, 80, 0.93, 1.2)
PRUNED = row("pruned", ["prune", "int8"], 100, 40, 0.92, 0.6)
BOTH = row("both", ["prune", "qat", "int8"], 110, 44, 0.94, 1.2)


def table(*rows: VariantResult, higher: bool = True) -> dict[str, tuple[str, ...]]:
    results = Results(name="r", objective="size", variants=list(rows), higher_is_better=higher)
    return {
        one.recipe: (
            *(one.technique, one.against),
            *(part.replace("\N{NO-BREAK SPACE}", " ") for part in (one.size, one.gzip, one.speeds[0])),
            one.accuracy,
        )
        for one in effects(results, ["host", "npu"])
    }


def test_quantization_is_held_against_float32_and_a_train_aware_step_against_the_control() -> None:
    assert table(FLOAT, INT8, CONTROL, PRUNED, BOTH) == {
        "small": ("quantization after training", "plain", "0.25 ×", "0.21 ×", "1.20 ×", "−0.0100"),
        "control": ("training alone (the control)", "small", "1.00 ×", "1.00 ×", "1.00 ×", "+0.0400"),
        "pruned": ("pruning", "control", "1.00 ×", "0.50 ×", "0.50 ×", "−0.0100"),
        "both": ("pruning and quantization-aware training", "control", "1.10 ×", "0.55 ×", "1.00 ×", "+0.0100"),
    }


def test_without_a_control_the_plain_conversion_stands_in_and_less_may_be_better() -> None:
    assert table(FLOAT, INT8, PRUNED)["pruned"][1] == "small"
    assert table(FLOAT, PRUNED)["pruned"][1] == "plain"
    assert table(PRUNED) == {}
    assert table(FLOAT, INT8, higher=False)["small"][5] == "+0.0100"


def test_a_variant_that_does_not_run_on_a_target_says_so() -> None:
    (one,) = effects(Results(name="r", objective="size", variants=[FLOAT, INT8]), ["npu"])
    assert one.speeds == ["does not run"]
