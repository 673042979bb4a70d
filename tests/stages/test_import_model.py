"""Importing a source model: checked against the data, and its float32 conversion proved on real samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest, sha256_of
from litemill.data.splits import Splits
from litemill.errors import InputError
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.models.backend import tf_keras
from litemill.models.store import load_model
from litemill.runtime import Runner
from litemill.stages.import_model import computes_otherwise, import_model, relative_error


def test_a_model_comes_in_with_a_baseline_that_computes_the_same(
    digits_model: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    source = digits_model.parent / "digits.keras"
    manifest = import_model(str(source), digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert manifest == read_manifest(tmp_path / "model/model.json", ModelManifest)
    assert manifest.origin == str(source) and manifest.origin_sha256 == sha256_of(source)
    variant = read_manifest(tmp_path / "baseline/baseline/variant.json", VariantManifest)
    assert variant.status == "ok" and variant.scheme == "float32" and variant.model_sha256 == manifest.sha256
    x = Splits.open(digits_dataset).test.x
    reference = load_model(tmp_path / "model").predict(x, verbose=0)
    assert relative_error(reference, Runner(tmp_path / "baseline/baseline/model.tflite").run(x)) < 1e-4


@pytest.mark.parametrize(
    ("shape", "units", "message"),
    [
        ((8, 8, 3), 10, r"takes samples of shape \[8, 8, 3\], but those of the data are \[8, 8, 1\]"),
        ((8, 8, 1), 7, r"gives outputs of shape \[7\] for data with 10 classes"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(
    shape: tuple[int, ...], units: int, message: str, digits_dataset: Path, tmp_path: Path
) -> None:
    layers = tf_keras().layers
    model = tf_keras().Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(units)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=message):
        import_model(str(tmp_path / "m.keras"), digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert [item.name for item in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "the same outputs for every sample"), (np.nan, "NaN or infinite outputs")]
)
def test_a_model_that_computes_nothing_is_refused_and_leaves_nothing(
    value: float, message: str, digits_dataset: Path, tmp_path: Path
) -> None:
    layers = tf_keras().layers
    model = tf_keras().Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    model.layers[1].kernel.assign(np.full((64, 10), value))
    model.save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=message):
        import_model(str(tmp_path / "m.keras"), digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert [item.name for item in tmp_path.iterdir()] == ["m.keras"]


def test_an_error_is_judged_by_the_spread_of_the_outputs() -> None:
    small = np.array([[1.0000, 1.0001], [1.0002, 1.0003]])
    assert relative_error(small, small + 1e-4) > 0.5, "tiny in absolute terms, but most of what the outputs say"
    assert relative_error(small * 1e4, small * 1e4 + 1e-4) < 1e-4
    assert relative_error(np.ones((2, 2)), np.ones((2, 2))) == 0
    assert relative_error(np.ones((2, 2)), np.zeros((2, 2))) == np.inf
    assert relative_error(small, np.full((2, 2), np.nan)) == np.inf


def test_rounding_at_a_steep_place_is_told_from_a_wrong_operation() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(128, 10))
    assert computes_otherwise(reference, reference + 1e-5 * rng.normal(size=(128, 10))) == ""
    one = reference.copy()
    one[3, 4] += 5e-3
    assert computes_otherwise(reference, one) == "", "one output between two classes"
    one[3, 4] += 2e-2
    assert "0.025 at worst" in computes_otherwise(reference, one)
    assert computes_otherwise(reference, reference + 1e-3), "a small difference in every output is a wrong operation"
    assert computes_otherwise(reference, np.full((128, 10), np.nan)) == "an infinite part of the outputs' spread"
