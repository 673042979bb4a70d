"""Several labels, masks and sequences against scikit-learn's metrics, with what is not known left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as expected

from litemill.errors import InputError, StepFailed
from litemill.evaluate.pairs import Samples, paired_drop
from litemill.evidence.outcome import Evaluation
from litemill.tasks import TASKS, Reading, metric_names, metric_of, task_of

RNG = np.random.default_rng(3)
MANY = ("multilabel", "segmentation")
"""Tasks with several decisions a sample, one of each kind."""


def value(task: str, metric: str, outputs: Any, y: Any, **reading: Any) -> float:
    found = task_of(task).outcomes(outputs, outputs, y, Reading(metric=metric, **reading))
    return metric_of(metric).function()(found.outcome, found.target)


def by_class(task: str, metric: str, outputs: Any, y: Any) -> list[float | None]:
    reading = Reading(metric=metric)
    return task_of(task).breakdown(task_of(task).outcomes(outputs, outputs, y, reading), reading).values


def test_several_labels_are_judged_as_scikit_learn_does() -> None:
    y = RNG.integers(0, 2, (200, 4)).astype(np.int8)
    scores = np.clip(y * 0.2 + RNG.random((200, 4)).round(1), 0, 1).astype(np.float32)  # many equal scores
    precision = [expected.average_precision_score(y[:, label], scores[:, label]) for label in range(4)]
    assert value("multilabel", "map", scores, y) == pytest.approx(np.mean(precision))
    assert by_class("multilabel", "map", scores, y) == pytest.approx(precision)
    assert value("multilabel", "f1", scores, y) == pytest.approx(expected.f1_score(y, scores > 0.5, average="macro"))
    assert by_class("multilabel", "f1", scores, y) == pytest.approx(expected.f1_score(y, scores > 0.5, average=None))
    assert value("multilabel", "accuracy", scores, y) == pytest.approx(np.mean((scores > 0.5) == y))
    logits = np.log(scores + 1e-6) - np.log(1 - scores + 1e-6)
    assert value("multilabel", "accuracy", logits, y, output_is="logits") == np.mean((logits > 0) == y)


def test_a_label_that_is_not_known_counts_for_nothing() -> None:
    y = RNG.integers(0, 2, (300, 3)).astype(np.int8)
    scores = RNG.random((300, 3)).astype(np.float32)
    known = np.arange(300) % 3 > 0
    hidden = np.where(known[:, None], y, np.int8(-1))
    for metric in ("map", "f1", "accuracy"):
        whole = value("multilabel", metric, scores[known], y[known])
        assert value("multilabel", metric, scores, hidden) == pytest.approx(whole)
    never = np.where(np.arange(3) == 1, np.int8(0), y)
    assert by_class("multilabel", "map", scores, never)[1] is None


@pytest.mark.parametrize(("task", "shape"), [("segmentation", (6, 5)), ("sequence", (9,))])
def test_positions_are_judged_as_scikit_learn_does(task: str, shape: tuple[int, ...]) -> None:
    y = RNG.integers(-1, 3, (40, *shape)).astype(np.int16)
    scores = RNG.random((40, *shape, 4)).astype(np.float32) + 0.5 * np.eye(4, dtype=np.float32)[y]
    labels, decided = y[y >= 0], scores.argmax(-1)[y >= 0]
    seen = np.unique(np.concatenate([labels, decided]))
    assert value(task, "accuracy", scores, y) == pytest.approx(np.mean(labels == decided))
    f1 = expected.f1_score(labels, decided, labels=seen, average=None)
    assert value(task, "f1", scores, y) == pytest.approx(f1.mean())
    if task == "sequence":
        assert by_class(task, "f1", scores, y) == pytest.approx(f1)
        return
    overlap = expected.jaccard_score(labels, decided, labels=seen, average=None)
    assert value(task, "miou", scores, y) == pytest.approx(overlap.mean())
    assert by_class(task, "miou", scores, y) == pytest.approx(overlap)


@pytest.mark.parametrize("axis", [True, False])
@pytest.mark.parametrize(("output_is", "cut"), [("logits", 0.0), ("probabilities", 0.5)])
def test_one_score_a_pixel_is_cut_where_the_model_means_it(axis: bool, output_is: Any, cut: float) -> None:
    y = RNG.integers(0, 2, (20, 4, 4)).astype(np.int16)
    scores = RNG.normal(size=y.shape).astype(np.float32) + y
    outputs = scores[..., None] if axis else scores
    found = value("segmentation", "accuracy", outputs, y, output_is=output_is)
    assert found == pytest.approx(np.mean((scores > cut) == y))


METRICS = [(task.name, name) for task in TASKS.values() if task.name in MANY for name in metric_names(task.name)]


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_a_drop_resamples_whole_samples(task: str, metric: str) -> None:
    """The fast way, by weights, gives what repeating the samples gives."""
    shape, classes = ((3,), ()) if task == "multilabel" else ((4, 4), (3,))
    y = RNG.integers(0, 2 if task == "multilabel" else 3, (60, *shape)).astype(np.int8)
    true = y.astype(np.float32) if task == "multilabel" else np.eye(3, dtype=np.float32)[y]
    good, bad = (true * weight + RNG.random((60, *shape, *classes)).astype(np.float32) for weight in (0.6, 0.1))
    reading = Reading(metric=metric)
    found = [task_of(task).outcomes(outputs, outputs, y, reading) for outputs in (good, bad)]
    index = RNG.integers(0, 60, 60)
    record = metric_of(metric)
    for one in found:
        repeated = record.function()(one.outcome[index], one.target[index] if len(one.target) else one.target)
        assert record.over(one.outcome, one.target)(index) == pytest.approx(repeated)
    better, worse = (Samples(one.outcome, one.prediction, one.target) for one in found)
    drop = paired_drop(Evaluation(recipe="r", metric=metric), better, worse)
    values = [record.function()(one.outcome, one.target) for one in found]
    assert drop.value == pytest.approx(values[0] - values[1])
    assert 0 < drop.ci[0] < drop.value < drop.ci[1]


def test_masks_mean_the_same_however_they_are_stored() -> None:
    task, mask = task_of("segmentation"), RNG.integers(0, 3, (5, 4, 4))
    for stored in (mask, mask[..., None], mask.astype(np.uint8), mask.astype(np.float64), np.eye(3)[mask]):
        found = task.fit(stored, "y")
        assert found.dtype == np.int16 and np.array_equal(found, mask)
    white = [np.where(mask > 1, 255, 0).astype(np.int16)] * 2
    assert {int(one.max()) for one in task.settle(white, None, "y")} == {1}
    void = [np.where(mask > 1, 255, mask).astype(np.int16)]
    with pytest.raises(InputError, match=r"has the label 255 beside classes up to 1\. Set data\.ignore_label: 255"):
        task.settle(void, None, "y")
    (settled,) = task.settle(void, 255, "y")
    assert set(np.unique(settled)) == {-1, 0, 1} and task.counts(settled, 2) == [int((mask == c).sum()) for c in (0, 1)]


@pytest.mark.parametrize(
    ("task", "stored", "message"),
    [
        ("classification", np.eye(3, dtype=int) + np.eye(3, k=1, dtype=int), "set data.task: multilabel"),
        ("classification", np.zeros((2, 4, 4)), "data.task: segmentation, sequence or regression"),
        ("multilabel", np.array([0, 1, 2]), r"has targets of shape \[\], task multilabel needs \[labels\]"),
        ("multilabel", np.array([[0, 3]]), "has the value 3 among several labels"),
        ("segmentation", np.zeros((2, 4)), r"has targets of shape \[4\], a mask has \[height, width\]"),
        ("segmentation", np.full((2, 4, 4), 0.5), "labels are not whole numbers"),
        ("segmentation", np.full((2, 4, 4), 1e9), "has label 1000000000, 32767 is the most"),
        ("sequence", np.zeros((2, 4, 4)), r"a row of labels has \[steps\]"),
        ("sequence", np.full((2, 4), np.nan), "labels are not whole numbers"),
        ("sequence", np.full((2, 4), "a"), "labels are <U1, not numbers"),
        ("regression", np.full((2, 4), "a"), "targets are <U1, not numbers"),
    ],
)
def test_targets_of_another_task_are_refused_with_the_way_out(task: str, stored: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        task_of(task).fit(stored, "y")


@pytest.mark.parametrize(
    ("task", "shape", "reading", "obstacle"),
    [
        ("multilabel", (4,), Reading(classes=5), "gives outputs of shape [4] for data with 5 labels"),
        ("segmentation", (8, 8, 3), Reading(2, target_shape=(8, 8)), ""),
        ("segmentation", (8, 8), Reading(2, target_shape=(8, 8)), ""),
        ("segmentation", (8, 8, 1), Reading(3, target_shape=(8, 8)), "gives 1 score for each position, the data has 3"),
        ("segmentation", (4, 4, 3), Reading(3, target_shape=(8, 8)), "outputs of shape [4, 4, 3] for targets of shape"),
        ("sequence", (20, 5), Reading(5, target_shape=(20,)), ""),
        ("sequence", (5,), Reading(5, target_shape=(20,)), "gives outputs of shape [5] for targets of shape [20]"),
        ("regression", (8, 8, 1), Reading(target_shape=(8, 8)), ""),
        ("regression", (8, 8, 1), Reading(target_shape=(64,)), ""),
        ("regression", (4, 4), Reading(target_shape=(2, 8)), "gives outputs of shape [4, 4] for targets of shape [2"),
    ],
)
def test_outputs_are_held_against_targets(task: str, shape: Any, reading: Reading, obstacle: str) -> None:
    found = task_of(task).obstacle(shape, reading)
    assert obstacle in found and bool(obstacle) == bool(found)
    if obstacle and task not in ("regression",):
        y = np.zeros((2, *(reading.target_shape or (reading.classes,))), np.int16)
        with pytest.raises(StepFailed):
            task_of(task).outcomes(np.zeros((2, *shape), np.float32), y, y, reading)
