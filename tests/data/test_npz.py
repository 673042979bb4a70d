"""The npz source: what is read, and the one clear error that each broken file gets."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import sha256_of
from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError

RNG = np.random.default_rng(0)


def arrays(**changes: Any) -> dict[str, Any]:
    """A small valid set: 60 train and 40 test samples of 4×4×3 uint8 in 3 classes."""
    good = {
        "x_train": RNG.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8),
        "y_train": np.arange(60) % 3,
        "x_test": RNG.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8),
        "y_test": np.arange(40) % 3,
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def save(folder: Path, **changes: Any) -> DataSpec:
    np.savez_compressed(folder / "data.npz", **arrays(**changes))
    return DataSpec(kind="npz", uri=str(folder / "data.npz"))


def test_samples_are_preprocessed_and_labels_kept(tmp_path: Path) -> None:
    given = arrays()
    preprocessing = {"scale": 1 / 255, "offset": 0.5, "mean": [0.1, 0.2, 0.3], "std": [2.0]}
    spec = DataSpec.model_validate(save(tmp_path, **given).model_dump() | {"preprocessing": preprocessing})
    manifest = prepare_data(spec, 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    expected = (given["x_test"] / 255 + 0.5 - [0.1, 0.2, 0.3]) / 2
    np.testing.assert_allclose(splits.test.x, expected, rtol=1e-5)
    np.testing.assert_array_equal(splits.train.y, given["y_train"])
    assert splits.test.x.dtype == np.float32 and splits.test.y.dtype == np.int64
    assert isinstance(splits.test.x, np.memmap)
    assert manifest.source_sha256 == sha256_of(Path(spec.uri))
    assert manifest.splits["test"].x_sha256 == sha256_of(tmp_path / "out/test/x.npy")
    assert manifest.splits["test"].y_sha256 == sha256_of(tmp_path / "out/test/y.npy")
    assert manifest.value_range == (splits.calibration.x.min(), splits.calibration.x.max())


def test_one_hot_and_column_labels_become_class_indices(tmp_path: Path) -> None:
    spec = save(tmp_path, y_train=np.eye(3)[np.arange(60) % 3], y_test=(np.arange(40) % 3)[:, None].astype(np.float32))
    prepare_data(spec, 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    np.testing.assert_array_equal(splits.train.y, np.arange(60) % 3)
    np.testing.assert_array_equal(splits.test.y, np.arange(40) % 3)


def test_a_given_calibration_set_is_used(tmp_path: Path) -> None:
    given = np.full((50, 4, 4, 3), 7, np.uint8)
    prepare_data(save(tmp_path, x_calibration=given), 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    np.testing.assert_array_equal(splits.calibration.x, given)
    assert set(splits.calibration.y) == {-1}, "no labels were given"
    assert len(splits.train) == 60


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "data.npz: has no array 'y_test'; did you mean 'x_test'?"),
        ({"y_train": np.arange(59) % 3}, "data.npz[y_train]: has 59 labels for 60 samples"),
        ({"y_train": np.arange(60) - 1}, "data.npz[y_train]: has the negative label -1. Give class indices from 0"),
        ({"y_train": np.full(60, 0.5)}, "data.npz[y_train]: labels are not whole numbers"),
        (
            {"y_train": np.full(60, np.inf)},
            "data.npz[y_train]: labels are not whole numbers",
        ),
        ({"y_train": np.ones((60, 3))}, "data.npz[y_train]: labels of shape (60, 3) are not one-hot"),
        ({"y_train": np.zeros(60), "y_test": np.zeros(40)}, "all labels are the same, so accuracy means nothing"),
        ({"x_test": np.zeros((40, 5, 4, 3))}, "has samples of shape [5, 4, 3]"),
        ({"x_test": np.zeros((0, 4, 4, 3)), "y_test": np.zeros(0)}, "data.npz[x_test]: has no samples"),
        ({"x_train": np.arange(60)}, "data.npz[x_train]: has one number a sample and no axis for features"),
        ({"x_train": np.array([object()] * 60)}, "holds pickled Python objects, which are never loaded"),
        ({"x_train": np.array(["a"] * 60)}, "holds <U1 values, not numbers"),
        ({"x_train": np.array(1.0)}, "is a single value, not an array of samples"),
        ({"x_train": np.zeros((3, 4, 4, 60)).T}, "is stored column by column and cannot be streamed"),
    ],
)
def test_a_broken_file_gets_one_clear_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    spec = save(tmp_path, **changes)
    with pytest.raises(InputError) as answer:
        check_source(spec)
    assert message in str(answer.value)
    assert "\n" not in str(answer.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["x_train", "x_test", "x_calibration"])
def test_a_value_that_is_not_finite_is_found_with_its_sample(tmp_path: Path, key: str, value: float) -> None:
    x = np.zeros((40, 4, 4, 3), np.float32)
    x[17, 2, 1, 0] = value
    y = np.arange(40) % 3
    spec = save(tmp_path, **{"x_train": np.zeros((40, 4, 4, 3), np.float32), "y_train": y, "y_test": y, key: x})
    with pytest.raises(InputError, match=r"sample 17 has NaN or infinite values") as answer:
        check_source(spec)
    assert f"[{key}]" in str(answer.value)


def test_preprocessing_that_overflows_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    spec = DataSpec.model_validate(save(tmp_path).model_dump() | {"preprocessing": {"scale": 1e38, "offset": 3e38}})
    with pytest.raises(InputError, match="preprocessing makes values infinite"):
        prepare_data(spec, 0, tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["data.npz"]


def test_mean_that_does_not_fit_the_channels_is_refused(tmp_path: Path) -> None:
    spec = DataSpec.model_validate(save(tmp_path).model_dump() | {"preprocessing": {"mean": [1.0, 2.0]}})
    with pytest.raises(InputError, match=r"data.preprocessing.mean: has 2 values .* Give one value or 3"):
        check_source(spec)


def test_a_missing_a_foreign_and_a_truncated_file(tmp_path: Path) -> None:
    def answer(content: bytes | None) -> str:
        path = tmp_path / "bad.npz"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as error:
            check_source(DataSpec(kind="npz", uri=str(path)))
        return str(error.value)

    save(tmp_path)
    whole = (tmp_path / "data.npz").read_bytes()
    assert "no such file" in answer(None)
    assert "is no .npz file" in answer(b"\x93NUMPY")
    assert "is no .npz file" in answer(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[150:400] = bytes(250)
    assert "bad.npz" in answer(bytes(damaged))


def test_a_small_calibration_set_is_warned_about(tmp_path: Path) -> None:
    facts = check_source(save(tmp_path, x_calibration=np.zeros((31, 4, 4, 3), np.uint8)))
    assert facts.samples == {"train": 60, "calibration": 31, "test": 40}
    assert facts.warnings == ["the calibration set has 31 samples; with fewer than 32 quantization ranges are a guess"]
    assert not check_source(save(tmp_path, x_calibration=np.zeros((32, 4, 4, 3), np.uint8))).warnings


def test_classes_only_in_test_are_warned_about(tmp_path: Path) -> None:
    facts = check_source(save(tmp_path, y_test=np.full(40, 5)))
    assert facts.classes == 6
    assert "classes [5] are in the test split but not in train" in facts.warnings


def test_memory_stays_flat(tmp_path: Path) -> None:
    """240 MB of float64 samples go through with a small part of that in memory."""
    x = np.zeros((10_000, 3_000))
    x[:, 0] = np.arange(10_000)
    y = np.arange(10_000) % 2
    spec = save(tmp_path, x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    del x
    tracemalloc.start()
    prepare_data(spec, 0, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6
    np.testing.assert_array_equal(Splits.open(tmp_path / "out").train.x[:, 0], np.arange(10_000))
