"""Parity of outputs: relative to their spread, strict about what is not a number."""

import numpy as np
import pytest

from litemill.benchmark.parity import compare_outputs, wrong_answer
from litemill.cli.show import describe
from litemill.evidence.outcome import Measurement
from litemill.select.results import TargetResult
from litemill.tasks import decisions

DECIDE = decisions("classification")
EXPECTED = np.array([[0.0, 10.0], [10.0, 0.0]], np.float32)


@pytest.mark.parametrize(("error", "ok"), [(0.4, True), (0.6, False)])
def test_the_tolerance_is_a_fraction_of_the_spread(error: float, ok: bool) -> None:
    for factor in (1.0, 1e-4, 1e4):
        found = compare_outputs(
            (EXPECTED + error) * np.float32(factor),
            EXPECTED * np.float32(factor),
            reference="r",
            tolerance=0.05,
            decide=DECIDE,
        )
        assert found.max_error == pytest.approx(error / 10, rel=1e-4)
        assert (found.ok, found.agreement, found.samples) == (ok, 1.0, 2)


def test_a_swapped_answer_is_a_disagreement() -> None:
    found = compare_outputs(EXPECTED[::-1].copy(), EXPECTED, reference="r", tolerance=0.05, decide=DECIDE)
    assert (found.ok, found.agreement, found.max_error) == (False, 0.0, 1.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_never_pass(wrong: float) -> None:
    found = compare_outputs(np.full_like(EXPECTED, wrong), EXPECTED, reference="r", tolerance=1e9)
    assert not found.ok
    assert "NaN" not in found.model_dump_json() and "Infinity" not in found.model_dump_json()


def test_outputs_of_another_shape_never_pass() -> None:
    assert not compare_outputs(EXPECTED[:1], EXPECTED, reference="r", tolerance=1e9).ok


@pytest.mark.parametrize(("steps", "ok"), [(0, True), (1, True), (3, True), (4, False), (40, False)])
def test_a_few_quantization_steps_are_rounding_however_few_levels_the_outputs_use(steps: int, ok: bool) -> None:
    """An anomaly detector's outputs may use 12 of 256 levels: one step is then a large part of their spread."""
    step = 0.05
    expected = np.arange(12, dtype=np.float32).reshape(4, 3) * np.float32(step)
    found = compare_outputs(expected + np.float32(steps * step), expected, reference="r", tolerance=0.01, step=step)
    assert (found.ok, found.steps) == (ok, steps)
    assert wrong_answer(found).endswith("" if ok else f", {steps} quantization steps")
    assert bool(wrong_answer(found)) is not ok


def test_the_tables_tell_a_step_of_rounding_a_wrong_answer_and_a_refusal_apart() -> None:
    def result(steps: int, status: str = "ok") -> str:
        parity = compare_outputs(EXPECTED + np.float32(steps), EXPECTED, reference="r", tolerance=0.0, step=1.0)
        measured = Measurement(recipe="r", target="t", status=status, parity=parity, arena_bytes=4912)  # type: ignore[arg-type]
        return describe(TargetResult.of(measured))

    assert result(0) == "4,912 arena"
    assert result(2) == "runs, differs by 2 steps, 4,912 arena"
    assert result(9, "failed") == "runs, wrong outputs"
    refused = Measurement(recipe="r", target="t", status="failed", reason="TFLM refuses it")
    assert describe(TargetResult.of(refused)) == "does not run"


def test_one_score_agrees_where_both_are_on_the_same_side_and_a_number_agrees_with_nothing() -> None:
    expected = np.array([[0.4], [0.6], [0.7], [-0.2]], np.float32)
    found = expected + np.array([[0.2], [0.0], [0.0], [0.0]], np.float32)
    compared = {
        task: compare_outputs(found, expected, reference="r", tolerance=1.0, decide=decisions(*task)).agreement
        for task in (("binary", "probabilities"), ("binary", "logits"), ("regression", ""), ("", ""))
    }
    assert list(compared.values()) == [0.75, 1.0, None, None]
