"""Draws, digests and reading back, on the digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.config.run import DataSpec, Limit
from litemill.data.checks import check_source
from litemill.data.digits import read_digits, split_rows
from litemill.data.prepare import prepare_data
from litemill.data.sampling import balanced, in_proportion
from litemill.data.splits import Splits
from litemill.errors import InputError
from litemill.evidence.sources import DatasetManifest

SPEC = DataSpec(kind="digits")


def test_the_same_seed_gives_the_same_files_and_another_seed_another_draw(tmp_path: Path) -> None:
    first = prepare_data(SPEC, 0, tmp_path / "a")
    again = prepare_data(SPEC, 0, tmp_path / "b")
    other = prepare_data(SPEC, 1, tmp_path / "c")
    assert first == again
    assert first.splits["calibration"] != other.splits["calibration"]
    assert first.splits["test"] == other.splits["test"], "no limit: nothing to draw"
    assert read_manifest(tmp_path / "a/dataset.json", DatasetManifest) == first


def test_calibration_is_class_balanced_and_drawn_from_train_only(tmp_path: Path) -> None:
    limit = Limit(train=400, calibration=100, test=90)
    manifest = prepare_data(SPEC.model_copy(update={"limit": limit}), 3, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    assert manifest.splits["calibration"].class_counts == [10] * 10
    assert (len(splits.train), len(splits.calibration), len(splits.test)) == (400, 100, 90)

    def rows(x: np.ndarray) -> set[bytes]:
        return {sample.tobytes() for sample in x}

    assert rows(splits.calibration.x) <= rows(splits.train.x)
    assert not rows(splits.train.x) & rows(splits.test.x)


def test_a_limit_on_train_leaves_the_test_draw_alone(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"limit": Limit(test=50)})
    small = SPEC.model_copy(update={"limit": Limit(test=50, train=200)})
    assert prepare_data(spec, 0, tmp_path / "a").splits["test"] == prepare_data(small, 0, tmp_path / "b").splits["test"]


@pytest.mark.parametrize("count", [1, 7, 50, 99])
def test_draws_give_exactly_what_was_asked(count: int) -> None:
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    rng = np.random.default_rng(0)
    for draw in (in_proportion(labels, count, rng), balanced(labels, count, rng)):
        assert len(np.unique(draw)) == count
        assert (np.diff(draw) > 0).all()


def test_proportion_and_balance() -> None:
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    rng = np.random.default_rng(0)
    assert np.bincount(labels[in_proportion(labels, 50, rng)], minlength=3).tolist() == [45, 5, 0]
    assert np.bincount(labels[balanced(labels, 30, rng)], minlength=3).tolist() == [20, 9, 1]


def test_facts_of_the_digits() -> None:
    facts = check_source(SPEC)
    assert (facts.input_shape, facts.classes, facts.dtype) == ((8, 8, 1), 10, "uint8")
    assert facts.samples == {"train": 1347, "calibration": 256, "test": 450}
    assert facts.warnings == []


def test_an_output_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/keep").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        prepare_data(SPEC, 0, tmp_path / "out")
    assert [item.name for item in tmp_path.rglob("*")] == ["out", "keep"]


def test_a_data_set_that_does_not_fit_its_manifest_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = prepare_data(SPEC, 0, out)
    with pytest.raises(InputError, match=r"dataset\.json"):
        Splits.open(tmp_path)
    write_manifest(out / "dataset.json", manifest.model_copy(update={"input_shape": [4, 4, 1]}))
    with pytest.raises(InputError, match=r"the manifest says float32\[1347, 4, 4, 1\]"):
        Splits.open(out)
    write_manifest(out / "dataset.json", manifest)
    (out / "test/x.npy").write_bytes((out / "test/x.npy").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"test/x\.npy: cannot read"):
        Splits.open(out)


@pytest.mark.parametrize(("seed", "test_samples", "rows"), [(20, 450, 1797), (0, 100, 1700), (7, 333, 1211)])
def test_the_digits_are_split_as_scikit_learn_splits_them(seed: int, test_samples: int, rows: int) -> None:
    """Without its import, which takes longer than all else that a plan does; the order of the rows counts, too."""
    images, labels = read_digits()
    theirs = load_digits()
    np.testing.assert_array_equal(images[..., 0], theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)
    found = split_rows(labels[:rows], test_samples, seed)
    expected = train_test_split(np.arange(rows), test_size=test_samples, stratify=labels[:rows], random_state=seed)
    for ours, own in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, own)
