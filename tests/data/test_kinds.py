"""Every kind of source gives the same data set for the same samples."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from litemill.config.data_kinds import DATA_KINDS
from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError
from litemill.plugins import load
from tests.data.made_sources import COUNTS, RNG, SET, SOURCES, image_folder


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_gives_the_same_samples(name: str, tmp_path: Path) -> None:
    spec = DataSpec.model_validate(
        SOURCES[name](tmp_path / "source").model_dump()
        | {"preprocessing": {"scale": 1 / 255, "channel_order": "bgr", "mean": [0.5]}}
    )
    facts = check_source(spec)
    assert (facts.input_shape, facts.classes, facts.samples) == ((6, 5, 3), 2, COUNTS)
    prepare_data(spec, 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    for split, (x, y) in SET.items():
        found = getattr(splits, split)
        np.testing.assert_allclose(found.x, x[..., ::-1] / 255 - 0.5, rtol=1e-5, atol=1e-6)
        if not (name.startswith("tfrecord") and split == "calibration"):
            np.testing.assert_array_equal(found.y, y)


@pytest.mark.parametrize("name", SOURCES)
def test_limits_read_only_what_they_keep(name: str, tmp_path: Path) -> None:
    spec = DataSpec.model_validate(SOURCES[name](tmp_path / "source").model_dump() | {"limit": {"train": 8, "test": 4}})
    manifest = prepare_data(spec, 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    assert manifest.splits["train"].class_counts == [4, 4]
    x, y = SET["train"]
    for image, label in zip(splits.train.x, splits.train.y, strict=True):
        (row,) = np.flatnonzero((x == image).all(axis=(1, 2, 3)))
        assert y[row] == label, "samples keep their labels"


def test_images_are_resized_and_turned_grey_as_pillow_does(tmp_path: Path) -> None:
    spec = DataSpec.model_validate(
        image_folder(tmp_path / "source").model_dump() | {"preprocessing": {"resize": [3, 4], "color": "grayscale"}}
    )
    manifest = prepare_data(spec, 0, tmp_path / "out")
    expected = Image.fromarray(SET["test"][0][0]).convert("L").resize((4, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(Splits.open(tmp_path / "out").test.x[0, ..., 0], np.asarray(expected, np.float32))
    assert manifest.input_shape == [3, 4, 1]
    assert manifest.class_names == ["cat", "dog"]
    assert manifest.preprocessing["resize"] == [3, 4]


def test_a_folder_without_splits_is_divided_by_the_seed_and_says_so(tmp_path: Path) -> None:
    image_folder(tmp_path / "source")
    spec = DataSpec(kind="image_folder", uri=str(tmp_path / "source/train"), options={"test_fraction": 0.25})
    facts = check_source(spec)
    assert facts.samples == {"train": 30, "calibration": 30, "test": 10}
    assert "no split tree: 25% drawn as test split; the model may have been trained on them" in facts.warnings
    first, other = prepare_data(spec, 0, tmp_path / "a"), prepare_data(spec, 1, tmp_path / "b")
    assert first.splits["test"].class_counts == [5, 5]
    assert first.splits["test"] != other.splits["test"]
    together = np.concatenate([Splits.open(tmp_path / "a").train.x, Splits.open(tmp_path / "a").test.x])
    assert len(np.unique(together.reshape(40, -1), axis=0)) == 40, "no image is in both"


def test_fashion_mnist_is_read_from_idx_files(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    labels = (np.arange(40) % 10).astype(np.uint8)
    for prefix in ("train", "t10k"):
        header = struct.pack(">4i", 0x0803, 40, 28, 28)
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        header = struct.pack(">2i", 0x0801, 40)
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))
    spec = DataSpec(kind="fashion_mnist", uri=str(tmp_path))
    manifest = prepare_data(spec, 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    np.testing.assert_array_equal(splits.test.x[..., 0], images)
    np.testing.assert_array_equal(splits.test.y, labels)
    assert manifest.class_names[9] == "Ankle boot"
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz: is truncated or damaged"):
        prepare_data(spec, 0, tmp_path / "again")
    path.write_bytes(gzip.compress(b"hello"))
    with pytest.raises(InputError, match="is no gzipped IDX file"):
        check_source(spec)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "npy", "uri": "x"}, "unknown kind 'npy'; did you mean 'numpy'?"),
        ({"kind": "csv", "uri": "x"}, "data.options of kind csv: label: Field required"),
        ({"kind": "csv", "uri": "x", "options": {"lable": "y"}}, "unknown option 'lable'; did you mean 'label'?"),
        ({"kind": "npz", "uri": "x", "options": {"a": 1}}, "unknown option 'a'; it takes none"),
        ({"kind": "tfrecord", "uri": "x", "options": {"encoding": "raw"}}, "encoding raw needs the shape of a sample"),
        ({"kind": "numpy"}, "data.kind numpy needs data.uri"),
        ({"kind": "digits", "task": "regression", "metric": "top1"}, "unknown metric 'top1' for task regression"),
        ({"kind": "python", "options": {"function": "no function"}}, "function: String should match pattern"),
    ],
)
def test_a_wrong_data_section_is_told(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as answer:
        DataSpec.model_validate(section)
    assert message in str(answer.value)


def test_every_kind_can_be_opened() -> None:
    for kind in DATA_KINDS.records():
        assert callable(load(kind.opens))
