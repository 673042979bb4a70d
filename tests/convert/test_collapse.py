"""Agreement with float32: chance is no agreement, a collapse is refused, a weakness told, everything else passes."""

from __future__ import annotations

import numpy as np
import pytest

from litemill.convert.collapse import by_column, check_agreement, compare_outputs, kappa
from litemill.errors import StepFailed
from litemill.evidence.variant import CalibrationReport, LayerSensitivity
from litemill.tasks import decisions

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 10, 256)
LAYERS = [LayerSensitivity(name="model/second/Relu;x", op="CONV_2D", sqnr_db=-2.0)]


def scores(labels: np.ndarray) -> np.ndarray:
    return np.eye(10, dtype=np.float32)[labels]


def mixed(share: float) -> np.ndarray:
    """The labels with a share of them replaced by chance."""
    return np.where(RNG.random(256) < share, RNG.integers(0, 10, 256), LABELS)


def judged(outputs: np.ndarray, expected: np.ndarray, task: str = "classification") -> CalibrationReport:
    report = CalibrationReport(samples=100, value_range=(0.0, 1.0))
    compare_outputs(report, outputs, expected, decide=decisions(task), by_column=by_column(task))
    check_agreement(report, "int8", LAYERS, where="int8")
    return report


def test_kappa_is_that_of_the_textbook() -> None:
    """Cohen's example as in Wikipedia: 20, 5, 10, 15 gives 0.4."""
    found = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    expected = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    value = kappa(found, expected)
    assert value is not None
    assert value.value == pytest.approx(0.4)
    assert value.ci[1] - value.value == pytest.approx(1.96 * np.sqrt(0.7 * 0.3 / 50) / 0.5)
    assert kappa(found, np.ones_like(found)) is None


@pytest.mark.parametrize("outputs", [scores(RNG.integers(0, 10, 256)), scores(np.full(256, 3))], ids=["any", "one"])
def test_chance_and_a_constant_answer_are_a_collapse(outputs: np.ndarray) -> None:
    with pytest.raises(StepFailed, match=r"collapsed: int8 predicts what float32 does on .* near chance") as raised:
        judged(outputs, scores(LABELS))
    assert "layer 'model/second/Relu' loses most (-2.0 dB alone)" in str(raised.value)
    assert raised.value.fix == "Try mixed-int8, int16x8 or qat"


def test_a_good_part_lost_is_a_warning_and_the_budget_s_to_judge() -> None:
    report = judged(scores(mixed(0.45)), scores(LABELS))
    assert report.kappa is not None and 0.4 < report.kappa.value < 0.7
    (warning,) = report.warnings
    assert "int8 predicts what float32 does on" in warning and "loses most" in warning


def test_a_faithful_model_gets_no_warning() -> None:
    report = judged(scores(mixed(0.02)), scores(LABELS))
    assert report.warnings == []
    assert report.checked_samples == 256


def test_two_classes_from_one_output() -> None:
    expected = RNG.random((256, 1), np.float32)
    assert judged(expected, expected, "binary").agreement == 1.0
    with pytest.raises(StepFailed, match="near chance"):
        judged(RNG.random((256, 1), np.float32), expected, "binary")


def test_numbers_are_judged_by_their_noise() -> None:
    expected = RNG.normal(size=(256, 4)).astype(np.float32)
    assert judged(expected * 1.01, expected, "regression").warnings == []
    (warning,) = judged(expected + RNG.normal(0, 0.5, expected.shape), expected, "regression").warnings
    assert "noise of 6" in warning or "noise of 5" in warning
    with pytest.raises(StepFailed, match="their mean would do as well"):
        judged(RNG.normal(size=expected.shape), expected, "reconstruction")


def test_a_float_model_with_one_answer_only_judges_nobody() -> None:
    assert judged(scores(np.full(256, 3)), scores(np.full(256, 3))).kappa is None


def test_a_column_that_is_small_beside_the_others_is_looked_at_by_itself() -> None:
    """Boxes in pixels beside a score from 0 to 1 in one output: one int8 scale of 2.5 makes the score 0."""
    boxes, score = RNG.random((256, 2)) * 640, RNG.random((256, 1))
    expected = np.concatenate([boxes, score], axis=1).astype(np.float32)
    outputs = (np.round(expected / 2.5) * 2.5).astype(np.float32)
    with pytest.raises(StepFailed, match=r"collapsed: column 2 of the outputs of int8 .* give it an output of its own"):
        judged(outputs, expected, "regression")
    assert judged(outputs, expected, "reconstruction").warnings == [], "the columns of an image are of one kind"
    many = [np.tile(part, (1, 8)) for part in (outputs, expected)]
    (warning,) = judged(*many, "regression").warnings
    assert "column" in warning, "of many columns one is no reason to refuse the file"
    still = np.concatenate([boxes, np.full((256, 1), 0.7)], axis=1).astype(np.float32)
    assert judged((np.round(still / 2.5) * 2.5).astype(np.float32), still, "regression").warnings == []
