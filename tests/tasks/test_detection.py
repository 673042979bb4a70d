"""Detection: mean average precision against COCO's own program, what outputs are read as, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from litemill.config.data import DataSpec
from litemill.convert.collapse import check_agreement, compare_outputs
from litemill.errors import InputError, StepFailed
from litemill.evaluate.pairs import Samples, paired_drop
from litemill.evidence.outcome import Evaluation
from litemill.evidence.variant import CalibrationReport
from litemill.tasks import BoxLayout, Reading, decisions, metric_of, task_of
from litemill.tasks.boxes import detections, overlaps
from litemill.tasks.detected import over_all

TASK = task_of("detection")
LAYOUT = BoxLayout(suppression="graph", classes=5, scores=(4,), least_score=0.0)
"""Rows of corners, score and class, as they are."""


def scene(samples: int = 40, seed: int = 5) -> tuple[Any, Any]:
    """Targets, and detections that find most of them, more or less: `[samples, 6, 5]`, `[samples, 10, 6]`."""
    rng = np.random.default_rng(seed)
    targets, found = np.zeros((samples, 6, 5), np.float32), np.zeros((samples, 10, 6), np.float32)
    targets[..., 4] = -1
    for sample in range(samples):
        for box in range(rng.integers(0, 7)):
            left, top, label = rng.integers(0, 80, 2), rng.integers(8, 30, 2), rng.integers(0, 3)
            targets[sample, box] = *left, *(left + top), label
            if rng.random() < 0.8:
                moved = targets[sample, box, :4] + rng.normal(0, 1.5, 4)
                label = label if rng.random() < 0.9 else rng.integers(0, 3)
                found[sample, box] = *moved, rng.random(), label
        for box in range(6, 6 + rng.integers(0, 5)):
            left, size = rng.integers(0, 80, 2), rng.integers(8, 30, 2)
            found[sample, box] = *left, *(left + size), 0.7 * rng.random(), rng.integers(0, 3)
    order = np.argsort(-found[..., 4], axis=1, kind="stable")
    return targets, np.take_along_axis(found, order[..., None], axis=1)


COCO = {"map50_95": 0.25562342, "map50": 0.54998751}
"""What pycocotools 2.0.11 (COCOeval, bbox, all areas, 100 detections) says of `scene()`."""
COCO_BY_CLASS = {
    "map50_95": [0.23004097, 0.28558559, 0.25124371],
    "map50": [0.55131771, 0.54250725, 0.55613759],
}


@pytest.mark.parametrize("metric", COCO)
def test_mean_average_precision_is_that_of_cocos_own_program(metric: str) -> None:
    targets, found = scene()
    reading = Reading(classes=3, metric=metric, boxes=LAYOUT)
    outcomes = TASK.outcomes(found, found, targets, reading)
    value = metric_of(metric).function()(outcomes.outcome, outcomes.target)
    assert value == pytest.approx(COCO[metric], abs=1e-6)
    assert TASK.breakdown(outcomes, reading).values == pytest.approx(COCO_BY_CLASS[metric], abs=1e-6)


def test_a_case_that_can_be_worked_out_by_hand() -> None:
    """Two boxes; the best detection is right at all overlaps up to .8, the next is wrong, the third is right.

    Up to .8 (7 of 10 thresholds) precision is 1 up to a recall of .5 (51 of 101 levels) and 2/3 up to 1 (50 levels);
    above, only the third is right: 1 of 3 detections, up to a recall of .5.
    """
    targets = np.array([[[0, 0, 10, 10, 0], [50, 50, 60, 60, 0]]], np.float32)
    found = np.array([[[0, 0, 10, 8, 0.9, 0], [30, 0, 40, 9, 0.8, 0], [50, 50, 60, 60, 0.7, 0]]], np.float32)
    assert overlaps(found[0, :1, :4], targets[0, :1, :4]) == pytest.approx(0.8)
    outcomes = TASK.outcomes(found, found, targets, Reading(classes=1, boxes=LAYOUT))
    half = metric_of("map50").function()(outcomes.outcome, outcomes.target)
    assert half == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert over_all(outcomes.outcome, outcomes.target) == pytest.approx(0.7 * half + 0.3 * (51 / 3) / 101)
    twice = TASK.outcomes(found[:, [0, 0, 2]], found, targets, Reading(classes=1, boxes=LAYOUT))
    assert twice.outcome[0, :3, 2].tolist() == [1, 0, 1]  # a box that was found already is not found again


@pytest.mark.parametrize("metric", COCO)
def test_a_drop_resamples_whole_samples(metric: str) -> None:
    targets, found = scene()
    worse = found.copy()
    worse[..., :4] += 4.0 * (np.random.default_rng(0).random(found.shape[:2]) < 0.5)[..., None]
    reading, record = Reading(classes=3, metric=metric, boxes=LAYOUT), metric_of(metric)
    better, worst = (TASK.outcomes(one, one, targets, reading) for one in (found, worse))
    index = np.sort(np.random.default_rng(1).integers(0, len(found), len(found)))
    for one in (better, worst):
        repeated = record.function()(one.outcome[index], one.target[index])
        assert record.over(one.outcome, one.target)(index) == pytest.approx(repeated)
    first, second = (Samples(one.outcome, one.prediction, one.target) for one in (better, worst))
    drop = paired_drop(Evaluation(recipe="r", metric=metric), first, second)
    assert drop.value == pytest.approx(record.over(*better[:2])(np.arange(40)) - record.over(*worst[:2])(np.arange(40)))
    assert 0 < drop.ci[0] < drop.value < drop.ci[1]


def section(**detection: Any) -> BoxLayout:
    spec = DataSpec.model_validate({"kind": "npz", "uri": "d.npz", "task": "detection", "detection": detection})
    assert spec.boxes is not None
    return spec.boxes


def test_outputs_of_every_form_are_the_same_detections() -> None:
    """Two boxes of classes 0 and 1 with scores .9 and .6, the second one twice, as detectors give them."""
    corners = np.array([[2, 4, 10, 20], [30, 40, 50, 44], [31, 40, 51, 44]], np.float32)
    scores = np.array([[0.9, 0.0], [0.0, 0.6], [0.0, 0.5]], np.float32)
    expected = np.array([[2, 4, 10, 20, 0.9, 0], [30, 40, 50, 44, 0.6, 1]])
    centres = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    logits = np.log(np.clip(scores, 1e-9, 1) / (1 - np.clip(scores, 1e-9, 0.999)))
    half = np.full((3, 1), 0.5, np.float32)
    listed = np.concatenate([corners, [[0.0], [1.0], [1.0]], scores.max(1, keepdims=True)], axis=1)
    softened = np.log(np.concatenate([1 - scores.max(1, keepdims=True), scores], axis=1) + 1e-9)
    forms = [
        (np.concatenate([corners, scores], axis=1), section()),
        (np.concatenate([scores, corners], axis=1), section(boxes=[2, 3, 4, 5], scores=[0, 1])),
        (np.concatenate([corners[:, [1, 0, 3, 2]], scores], axis=1), section(format="yxyx")),
        (np.concatenate([centres / [64, 32, 64, 32], scores], axis=1), section(format="cxcywh", scale=[64, 32])),
        (np.concatenate([corners, scores], axis=1).T, section(rows_last=True)),
        (np.concatenate([corners, logits], axis=1), section(activation="sigmoid")),
        (np.concatenate([corners, softened], axis=1), section(activation="softmax", background=True)),
        (np.concatenate([corners, half, scores * 2], axis=1), section(objectness=4)),
        (listed, section(boxes="boxes", classes="classes", scores="scores")),
    ]
    for outputs, layout in forms:
        found = detections(outputs[None].astype(np.float32), layout)[0]
        assert found[:2] == pytest.approx(expected, rel=1e-3, abs=1e-3), layout
        assert (found[2:, -1] == -1).all(), layout
    kept = detections(np.concatenate([corners, scores], axis=1)[None], section(nms="graph"))[0]
    assert kept[:4, -1].tolist() == [0, 1, 1, -1]
    near = np.concatenate([corners[[1, 1]], [[0.9, 0.0], [0.0, 0.6]]], axis=1)[None]
    assert [(detections(near, section(nms=by))[0, :, -1] >= 0).sum() for by in ("class", "all")] == [2, 1]
    assert (detections(near, section(min_score=0.7))[0, :, -1] >= 0).sum() == 1
    assert detections(near, section(most=1)).shape == (1, 1, 6)


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        ({"boxes": [0, 1, 2]}, "a box has 4 columns, not 3"),
        ({"boxes": "b", "scores": [4]}, "names outputs and columns"),
        ({"boxes": "b"}, "scores is missing: name the output"),
        ({"boxes": "b", "scores": "b"}, "names the output 'b' twice"),
        ({"objectness": 3}, "names a column twice"),
        ({"scale": [1, 2, 3]}, "give a factor above 0"),
        ({"scale": 0}, "give a factor above 0"),
        ({"boxes": "b", "scores": "s", "rows_last": True}, "rows_last is for one output"),
        ({"format": "xywh"}, "xyxy"),
        ({"iou_threshold": 0.4}, "iou_threshold"),
    ],
)
def test_a_section_that_means_nothing_is_refused(detection: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**detection)


def test_the_section_is_for_detection_and_says_what_outputs_are() -> None:
    base = {"kind": "npz", "uri": "d.npz"}
    with pytest.raises(ValueError, match=r"data\.detection is for task detection"):
        DataSpec.model_validate(base | {"detection": {}})
    with pytest.raises(ValueError, match=r"data\.detection\.activation says it"):
        DataSpec.model_validate(base | {"task": "detection", "output_is": "logits"})
    named = {"task": "detection", "detection": {"boxes": "b", "scores": "s"}}
    spec = DataSpec.model_validate(base | named)
    assert spec.output == "b+s" and DataSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValueError, match=r"data\.detection names the outputs already"):
        DataSpec.model_validate(base | named | {"output": "x"})


def boxes(*rows: Any) -> Any:
    return np.array([rows], np.float64)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((3, 5)), r"has targets of shape \[5\], task detection needs \[boxes, 5\]"),
        (np.zeros((3, 2, 4)), r"has targets of shape \[2, 4\]"),
        (np.full((3, 2, 5), "a"), "boxes are <U1, not numbers"),
        (boxes([0, 0, np.nan, 1, 0]), r"NaN or infinite boxes \(sample 0, box 0\)"),
        (boxes([0, 0, 1, 1, 0], [0, 0, 1, 1, 0.5]), r"class of 0.5 \(sample 0, box 1\)"),
        (boxes([0, 0, 1, 1, -2]), r"class of -2"),
        (boxes([4, 0, 2, 1, 0]), r"a box without width or height: \[4.0, 0.0, 2.0, 1.0\] \(sample 0, box 0\)"),
        (boxes([10, 10, 5, 5, 1]), "x_min, y_min, x_max, y_max, class"),
    ],
)
def test_targets_that_are_no_boxes_are_refused_with_the_form(stored: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TASK.fit(stored, "y")


def test_splits_are_filled_up_to_as_many_boxes_and_need_some() -> None:
    first, second = TASK.fit(boxes([0, 0, 1, 1, 2]), "y"), TASK.fit(boxes([0, 0, 2, 2, 1], [9, 9, 9, 9, -1]), "y")
    train, test, calibration = TASK.settle([first, second, TASK.unknown(3)], None, "y")
    assert train.shape == test.shape == (1, 2, 5) and calibration.shape == (3, 2, 5)
    assert TASK.counts(test, 3) == [0, 1, 0] and TASK.counts(calibration, 3) == [0, 0, 0]
    assert TASK.classes([train, test, calibration], 0) == 3 and test[0, 1].tolist() == [0, 0, 0, 0, -1]
    with pytest.raises(InputError, match="the test targets have no box"):
        TASK.check(train, calibration, "map50", "y")


@pytest.mark.parametrize(
    ("shape", "layout", "classes", "obstacle"),
    [
        ((20, 7), section(), 3, ""),
        ((7, 20), section(rows_last=True), 3, ""),
        ((20, 6), section(), 3, "gives 2 scores for each box, the data has 3 classes"),
        ((20, 7), section(background=True), 3, "gives 2 scores"),
        ((20, 4), section(), 1, "which leaves none for the scores"),
        ((20, 7), section(objectness=9), 1, "data.detection names column 9"),
        ((20, 4, 4), section(), 1, "boxes need [rows, columns]"),
        ((10, 6), section(boxes="b", classes="c", scores="s"), 90, ""),
    ],
)
def test_outputs_are_held_against_the_section_and_the_classes(
    shape: Any, layout: BoxLayout, classes: int, obstacle: str
) -> None:
    found = TASK.obstacle(shape, Reading(classes=classes, boxes=layout))
    assert obstacle in found and bool(obstacle) == bool(found)
    if obstacle:
        with pytest.raises(StepFailed):
            TASK.outcomes(
                np.zeros((1, *shape)), np.zeros(1), np.zeros((1, 1, 5)), Reading(classes=classes, boxes=layout)
            )


def test_a_detector_that_has_lost_its_scores_or_boxes_has_collapsed_and_rounding_is_none() -> None:
    _, found = scene(100)
    decide = decisions("detection", "", LAYOUT)
    assert decide is not None and decide.agreement(found, found) == pytest.approx(1.0)
    constant, elsewhere = found.copy(), found.copy()
    constant[..., 4] = 0.0
    elsewhere[..., :4] += 200
    rounded = found + np.random.default_rng(0).normal(0, 0.05, found.shape) * [1, 1, 1, 1, 0.1, 0]
    for outputs, collapsed in ((rounded, False), (constant, True), (elsewhere, True)):
        report = CalibrationReport(samples=10, value_range=(0, 1))
        compare_outputs(report, outputs.astype(np.float32), found, decide=decide)
        if collapsed:
            with pytest.raises(StepFailed, match=r"collapsed: int8 predicts what float32 does on 0\.0%"):
                check_agreement(report, "int8", [], where="int8")
        else:
            assert report.agreement is not None and report.agreement > 0.9
            check_agreement(report, "int8", [], where="int8")
            assert report.warnings == []


def test_samples_without_boxes_are_no_reason_to_divide_by_nothing() -> None:
    nothing = np.zeros((4, 3, 6), np.float32)
    decide = decisions("detection", "", replace(LAYOUT, least_score=0.1))
    assert decide is not None and decide.agreement(nothing, nothing) == 1.0
    report = CalibrationReport(samples=10, value_range=(0, 1))
    compare_outputs(report, nothing, nothing, decide=decide)
    check_agreement(report, "int8", [], where="int8")
    targets, found = scene(4)
    outcomes = TASK.outcomes(np.zeros_like(found), found, targets, Reading(classes=3, boxes=LAYOUT))
    assert over_all(outcomes.outcome, outcomes.target) == 0.0
