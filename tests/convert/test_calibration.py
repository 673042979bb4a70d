"""Calibration samples beside training samples: what is alike passes, what is not is refused or told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.layout import X, Y
from litemill.convert.calibration import compare_with_training, training_samples
from litemill.errors import StepFailed
from tests.workshop import Array, digits

SAMPLES, LABELS = digits()
TRAIN = SAMPLES[300:1200]


def answer(samples: Array, train: Array = TRAIN) -> list[str]:
    return compare_with_training(samples, train, where="x.npy").warnings


@pytest.mark.parametrize("count", [32, 100, 300])
def test_a_draw_of_the_same_data_passes(count: int) -> None:
    assert answer(SAMPLES[:count]) == []
    assert answer(2 * SAMPLES[:count] - 1, 2 * TRAIN - 1) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda x: x**3, "mean"),
        (lambda x: 1 - x, "mean"),
        (lambda x: np.random.default_rng(0).permuted(x.reshape(len(x), -1), axis=1).reshape(x.shape), "roughness"),
        (lambda x: 2 * x - 1, "standard deviation"),
    ],
    ids=["darker", "negative", "shuffled pixels", "wider"],
)
def test_what_looks_like_no_training_sample_is_told(change: object, word: str) -> None:
    (warning,) = answer(change(SAMPLES[:100]))  # type: ignore[operator]
    assert "do not look like the training data" in warning
    assert word in warning


@pytest.mark.parametrize(
    ("samples", "train"),
    [(SAMPLES[:100], 255 * TRAIN), (255 * SAMPLES[:100], TRAIN), (SAMPLES[:100], 2 * TRAIN - 1)],
    ids=["not scaled up", "not scaled down", "shifted"],
)
def test_another_range_is_refused(samples: Array, train: Array) -> None:
    with pytest.raises(StepFailed, match="calibration samples lie in") as raised:
        answer(samples, train)
    assert raised.value.where == "x.npy"


def test_a_range_somewhat_off_is_warned_of() -> None:
    report = compare_with_training(np.minimum(SAMPLES[:100], 0.8), TRAIN, where="")
    assert report.train_range == (0.0, 1.0)
    assert report.clipped == pytest.approx(np.mean(np.square(TRAIN - TRAIN.clip(0, 0.8))) / TRAIN.var(), rel=1e-4)
    assert any("of the training data's power is cut off" in warning for warning in report.warnings)
    assert any("levels are left unused" in warning for warning in answer(3 * SAMPLES[:100]))


def test_training_samples_are_drawn_by_class_as_calibration_is(tmp_path: Path) -> None:
    """A class that is rare in training is not, in a balanced calibration set: that is no difference to be told."""
    common, rare = np.flatnonzero(LABELS == 0), np.flatnonzero(LABELS == 1)[:40]
    rows = np.concatenate([common, rare])
    np.save(tmp_path / X, SAMPLES[rows])
    np.save(tmp_path / Y, LABELS[rows].astype(np.int64))
    drawn = training_samples(tmp_path, 80)
    assert sum(any(np.array_equal(sample, other) for other in SAMPLES[rare]) for sample in drawn) == 40
    assert answer(np.concatenate([SAMPLES[common[:40]], SAMPLES[rare]]), drawn) == []
