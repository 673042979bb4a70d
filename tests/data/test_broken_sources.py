"""One clear error for each source that is damaged, foreign or not what the config says of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.errors import InputError
from tests.data.made_sources import SOURCES, record


def broken_image(spec: DataSpec) -> None:
    path = next(Path(spec.uri).rglob("train/dog/*.png"))
    path.write_bytes(path.read_bytes()[:60])


def foreign_image(spec: DataSpec) -> None:
    next(Path(spec.uri).rglob("test/dog/*.png")).write_text("hello")


def other_size(spec: DataSpec) -> None:
    Image.new("RGB", (9, 9)).save(next(Path(spec.uri).rglob("test/dog/*.png")))


def other_class(spec: DataSpec) -> None:
    (Path(spec.uri) / "test/cow").mkdir()


def flipped_byte(spec: DataSpec) -> None:
    path = Path(spec.uri) / "train-0.tfrecord"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


def cut_record(spec: DataSpec) -> None:
    path = Path(spec.uri) / "test-1.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])


def broken_gzip(spec: DataSpec) -> None:
    path = Path(spec.uri) / "train-0.tfrecord"
    path.write_bytes(gzip.compress(path.read_bytes())[:-20])


def no_example(spec: DataSpec) -> None:
    (Path(spec.uri) / "train-0.tfrecord").write_bytes(record(b"\xff\xff\xff"))


def no_test(spec: DataSpec) -> None:
    for path in Path(spec.uri).glob("*test*"):
        path.unlink()


@pytest.mark.parametrize(
    ("name", "damage", "changes", "message"),
    [
        ("image_folder", broken_image, {}, r"\d+\.png: is (truncated or damaged|no readable image)"),
        ("image_folder", foreign_image, {}, r"is no readable image \(no image format known\)"),
        ("image_folder", other_size, {}, r"is 9×9, the first image is 6×5\. Set data\.preprocessing\.resize"),
        ("image_folder", other_class, {}, r"test: has class 'cow', which train does not have"),
        ("image_folder", None, {"uri": "{root}/source/train/cat"}, r"has 0 class folders"),
        (
            "image_folder",
            None,
            {"preprocessing": {"channel_order": "bgr", "color": "grayscale"}},
            r"needs three channels",
        ),
        ("tfrecord", flipped_byte, {}, r"train-0\.tfrecord: is damaged at byte 0"),
        ("tfrecord", cut_record, {}, r"test-1\.tfrecord: is truncated"),
        ("tfrecord", broken_gzip, {}, r"train-0\.tfrecord: is truncated"),
        ("tfrecord", no_example, {}, r"holds a record that is no tf\.train\.Example"),
        ("tfrecord", no_test, {}, r"has no test\*\.tfrecord file"),
        ("tfrecord", None, {"options": {"x": "picture"}}, r"has no feature 'picture'; known: image, label"),
        ("tfrecord", None, {"options": {"x": "label"}}, r"feature 'label' holds 0 byte strings"),
        ("tfrecord-raw", None, {"options": {"encoding": "raw", "shape": [7]}}, r"has 90 values, not shape \[7\]"),
        ("numpy", no_test, {}, r"has no array 'x_test'; known: x_calibration, x_train"),
        ("numpy", None, {"uri": "{root}/source/x_test.npy"}, r"is no folder of \.npy files"),
        ("numpy", None, {"preprocessing": {"resize": [3, 3]}}, r"resize and color are for encoded images"),
        ("python", None, {"options": {"function": "no.such:thing"}}, r"no\.such:thing: cannot be imported"),
        ("python", None, {"options": {"function": "builtins:dict"}}, r"must return a mapping with train and test"),
        ("python", None, {"options": {"function": "math:sqrt"}}, r"math:sqrt: failed: TypeError"),
    ],
)
def test_a_broken_source_gets_one_clear_error(
    name: str, damage: Callable[[DataSpec], None] | None, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    spec = SOURCES[name](tmp_path / "source")
    if "uri" in changes:
        changes = changes | {"uri": changes["uri"].format(root=tmp_path)}
    spec = DataSpec.model_validate(spec.model_dump() | changes)
    if damage:
        damage(spec)
    with pytest.raises(InputError, match=message) as answer:
        check_source(spec)
    assert "\n" not in str(answer.value)
