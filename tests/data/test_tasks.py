"""Targets of each task, from the source to the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def save(folder: Path, task: str, metric: str = "", **arrays: Any) -> DataSpec:
    np.savez(folder / "d.npz", x_train=X, x_test=X, **arrays)
    return DataSpec.model_validate({"kind": "npz", "uri": str(folder / "d.npz"), "task": task, "metric": metric})


@pytest.mark.parametrize("width", [None, 1, 2])
def test_a_regression_keeps_its_numbers(width: int | None, tmp_path: Path) -> None:
    y = np.linspace(-1, 1, 40 * (width or 1)).reshape((40, width) if width else 40)
    manifest = prepare_data(save(tmp_path, "regression", y_train=y, y_test=y, x_calibration=X), 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    expected = y[:, 0] if width == 1 else y
    np.testing.assert_allclose(splits.test.y, expected, rtol=1e-6)
    assert splits.test.y.dtype == np.float32
    assert (manifest.metric, manifest.classes, manifest.target_shape) == ("mae", 0, [2] if width == 2 else [])
    assert np.isnan(splits.calibration.y).all(), "no targets were given"


def test_a_reconstruction_needs_no_labels_and_takes_anomaly_labels(tmp_path: Path) -> None:
    manifest = prepare_data(save(tmp_path, "reconstruction"), 0, tmp_path / "a")
    assert manifest.metric == "mse" and not Splits.open(tmp_path / "a").test.y.any()
    spec = save(tmp_path, "reconstruction", "auc", y_test=np.arange(40) % 2)
    assert prepare_data(spec, 0, tmp_path / "b").metric == "auc"
    assert Splits.open(tmp_path / "b").test.y.sum() == 20


def test_binary_and_own_metric(tmp_path: Path) -> None:
    y = np.arange(40) % 2
    assert prepare_data(save(tmp_path, "binary", y_train=y, y_test=y), 0, tmp_path / "a").metric == "auc"
    spec = save(tmp_path, "binary", "my.metrics:f1", y_train=y, y_test=y)
    manifest = prepare_data(spec, 0, tmp_path / "b")
    assert (manifest.task, manifest.metric, manifest.classes) == ("binary", "my.metrics:f1", 2)


@pytest.mark.parametrize(
    ("task", "metric", "y", "message"),
    [
        ("binary", "", np.arange(40) % 3, "has label 2, but task binary knows 0 and 1 only"),
        ("binary", "", np.ones(40), "all test labels are the same, so AUC means nothing"),
        ("reconstruction", "auc", np.zeros(40), "all test labels are the same, so AUC means nothing"),
        ("regression", "", np.full(40, np.nan), "has NaN or infinite targets"),
        ("regression", "", np.ones(40), "all test targets are the same"),
        ("regression", "", np.zeros((40, 2, 2)), "all test targets are the same"),
        ("regression", "", np.zeros(39), "has 39 labels for 40 samples"),
    ],
)
def test_targets_that_do_not_fit_the_task(task: str, metric: str, y: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        check_source(save(tmp_path, task, metric, y_train=y, y_test=y))
