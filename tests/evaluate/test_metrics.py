"""Metrics against scikit-learn's, outputs that do not fit their task, and drops of metrics of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as expected

from litemill.data.splits import Split
from litemill.errors import InputError, StepFailed
from litemill.evaluate.pairs import Samples, paired_drop
from litemill.evaluate.score import Score, score
from litemill.evidence.outcome import Evaluation
from litemill.evidence.sources import DatasetManifest
from litemill.tasks import METRICS, TASKS, metric_names, metric_of

RNG = np.random.default_rng(0)


def manifest(task: str, metric: str, classes: int = 0) -> DatasetManifest:
    facts: dict[str, Any] = {"kind": "t", "uri": "", "source_sha256": "", "input_shape": [4], "dtype": "float32"}
    rest: dict[str, Any] = {"preprocessing": {}, "seed": 0, "value_range": (0, 1), "splits": {}}
    return DatasetManifest(**facts, **rest, classes=classes, task=task, metric=metric)


def scored(outputs: Any, x: Any, y: Any, data: DatasetManifest, output_is: Any = "", block: int = 0) -> Score:
    """The score of a model that gives these outputs, run in blocks of so many samples; in one by default."""
    outputs = np.asarray(outputs, np.float32)
    rows = np.arange(len(outputs))
    split = Split(np.arange(len(outputs)) if x is None else x, y)
    left = iter(np.split(rows, range(block, len(rows), block)) if block else [rows])
    return score(lambda part: outputs[next(left)], split, data, output_is, (64 << 20) // block if block else 1)


def value(outputs: Any, x: Any, y: Any, data: DatasetManifest, output_is: Any = "") -> float:
    return scored(outputs, x, y, data, output_is).value


def test_every_task_has_a_metric_and_every_metric_a_function_and_a_task() -> None:
    assert all(metric_names(task) for task in TASKS)
    for metric in METRICS.records():
        assert callable(metric.function()) and metric.summary
        assert set(metric.tasks) <= set(TASKS)


def test_top5_and_top1() -> None:
    scores, y = RNG.random((200, 8)).astype(np.float32), RNG.integers(0, 8, 200)
    for metric, k in (("top1", 1), ("top5", 5)):
        found = value(scores, None, y, manifest("classification", metric, 8))
        assert found == pytest.approx(expected.top_k_accuracy_score(y, scores, k=k, labels=range(8)))


@pytest.mark.parametrize("outputs", [1, 2])
def test_binary(outputs: int) -> None:
    y = RNG.integers(0, 2, 300)
    score = np.clip(y * 0.3 + RNG.random(300).round(1) * 0.7, 0, 1)
    scores = score[:, None] if outputs == 1 else np.stack([1 - score, score], axis=1)
    assert value(scores, None, y, manifest("binary", "auc", 2)) == pytest.approx(
        expected.roc_auc_score(y, score.astype(np.float32)), abs=1e-3
    )
    found = value(scores, None, y, manifest("binary", "accuracy", 2))
    assert found == pytest.approx(np.mean((score > 0.5) == y), abs=0.01)


def test_regression() -> None:
    y, guess = RNG.normal(size=(100, 2)), RNG.normal(size=(100, 2))
    found = {metric: value(guess, None, y, manifest("regression", metric)) for metric in ("mae", "rmse")}
    assert found["mae"] == pytest.approx(expected.mean_absolute_error(y, guess))
    assert found["rmse"] == pytest.approx(expected.mean_squared_error(y, guess) ** 0.5)
    assert not metric_of("mae").higher_is_better


def test_reconstruction_by_error_and_as_anomaly_score() -> None:
    x = RNG.normal(size=(100, 4))
    y = RNG.integers(0, 2, 100)
    guess = x + RNG.normal(size=(100, 4)) * (0.1 + y[:, None])
    assert value(guess, x, y, manifest("reconstruction", "mse")) == pytest.approx(expected.mean_squared_error(x, guess))
    score = np.square(guess.astype(np.float32) - x).mean(axis=1)
    found = value(guess, x, y, manifest("reconstruction", "auc"))
    assert found == pytest.approx(expected.roc_auc_score(y, score))
    assert found > 0.9


def own_metric(outputs: Any, targets: Any) -> float:
    """A user's own: the fraction of outputs whose sign is the target's."""
    return float(np.mean(np.sign(outputs[:, 0]) == targets))


def broken_metric(outputs: Any, targets: Any) -> float:
    raise KeyError("no such column")


def test_a_users_own_function_gets_outputs_and_targets() -> None:
    y = np.array([1.0, -1.0, 1.0, 1.0], np.float32)
    data = manifest("regression", f"{__name__}:own_metric")
    assert value([[2.0], [-1.0], [-3.0], [5.0]], None, y, data) == 0.75
    assert metric_of(data.metric).higher_is_better
    with pytest.raises(InputError, match=r"broken_metric: failed: KeyError: 'no such column'"):
        value([[1.0]], None, y[:1], manifest("regression", f"{__name__}:broken_metric"))


@pytest.mark.parametrize(
    ("shape", "data", "reason"),
    [
        ((5, 3), manifest("classification", "top1", 4), "the model has 3 outputs, the data 4 classes"),
        ((5, 3), manifest("binary", "auc", 2), "the model has 3 outputs, a binary task one or two"),
        ((5, 3), manifest("regression", "mae"), "the model gives 3 numbers a sample, the data has 1"),
        ((5, 1), manifest("binary", "auc", 2), "auc needs samples of both classes"),
    ],
)
def test_outputs_that_do_not_fit_the_task(shape: tuple[int, ...], data: DatasetManifest, reason: str) -> None:
    with pytest.raises(StepFailed, match=reason):
        value(np.zeros(shape), np.zeros(shape), np.zeros(5, np.int64), data)


def test_outputs_that_are_not_finite_are_told() -> None:
    with pytest.raises(StepFailed, match="2 samples get outputs that are NaN or Inf"):
        value([[np.nan], [1.0], [np.inf]], None, np.zeros(3), manifest("regression", "mae"))


@pytest.mark.parametrize(("metric", "higher"), [("mae", False), ("auc", True), ("top1", True)])
def test_a_drop_is_positive_where_the_variant_is_worse(metric: str, higher: bool) -> None:
    label = RNG.integers(0, 2, 400)
    noise = RNG.normal(size=400)
    good, bad = label + 0.5 * noise, label + 2.0 * RNG.normal(size=400)
    outcomes = {"mae": (np.abs(noise), np.abs(noise) + 0.2), "auc": (good, bad), "top1": (good > 0, bad > 0.5)}[metric]
    target = label if metric == "auc" else np.empty(0)
    better, worse = (Samples(outcome, np.empty(0), target) for outcome in outcomes)
    evaluation = Evaluation(recipe="r", metric=metric, higher_is_better=higher)
    drop = paired_drop(evaluation, better, worse)
    assert 0 < drop.ci[0] < drop.value < drop.ci[1]
    if metric == "mae":
        assert drop.value == pytest.approx(0.2)


def test_a_logit_says_yes_above_zero_and_a_probability_above_one_half() -> None:
    y = RNG.integers(0, 2, 400)
    logits = (y - 0.5) * 0.6 + RNG.normal(size=400) * 0.2
    probabilities = 1 / (1 + np.exp(-logits))
    data = manifest("binary", "accuracy", 2)
    found = scored(logits[:, None], None, y, data, "logits")
    assert found.value == value(probabilities[:, None], None, y, data, "probabilities") == np.mean((logits > 0) == y)
    assert found.found.prediction.tolist() == (logits > 0).tolist()
    assert value(logits[:, None], None, y, data, "probabilities") < found.value
    two = np.stack([-logits, logits], axis=1)
    assert value(two, None, y, data, "probabilities") == found.value, "of two outputs the larger one decides"


def test_a_model_may_have_more_classes_than_the_sample_holds() -> None:
    """ImageNet's 1000 outputs on pictures of some classes: the outputs say how many classes there are."""
    scores = np.eye(10, dtype=np.float32)[[0, 2, 9, 6]]
    found = scored(scores, None, np.array([0, 2, 4, 6]), manifest("classification", "top1", 7))
    assert found.value == 0.75
    assert found.by_class.values == [1.0, None, 1.0, None, 0.0, None, 1.0, None, None, None]
    assert np.shape(found.by_class.confusion) == (10, 10) and found.by_class.confusion[4][9] == 1


@pytest.mark.parametrize("metric", ["top1", "top5"])
def test_blocks_do_not_change_a_score(metric: str) -> None:
    scores, y = RNG.random((100, 6)), RNG.integers(0, 6, 100)
    whole, parts = (scored(scores, None, y, manifest("classification", metric, 6), block=block) for block in (0, 7))
    assert whole.value == parts.value and whole.by_class == parts.by_class
    np.testing.assert_array_equal(whole.found.outcome, parts.found.outcome)


def test_the_psnr_of_images_is_that_of_tensorflow() -> None:
    """tf.image.psnr is the mean over images of 10·log10(peak² / mse); here by its formula, in closed form."""
    y = RNG.random((20, 4, 4, 1)).astype(np.float32)
    guess = y + 0.1 * np.where(RNG.random(y.shape) < 0.5, 1, -1)
    assert value(guess, None, y, manifest("regression", "psnr")) == pytest.approx(20.0, abs=1e-4)
    bytes_ = manifest("regression", "psnr")
    assert value(guess * 255, None, y * 255, bytes_) == pytest.approx(20.0, abs=1e-4), "targets from 0 to 255"
    assert value(y, None, y, bytes_) == 100.0, "a perfect image has no infinite value"
