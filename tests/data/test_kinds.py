"""Every kind of source gives the same data set for the same samples, and one clear error when it is broken."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google_crc32c import value as crc32c
from PIL import Image
from pydantic import ValidationError

from litemill.data import Splits, check_source, prepare_data
from litemill.data.checks import OPENERS
from litemill.data.tfrecord import example_class
from litemill.errors import InputError
from litemill.kinds import KINDS
from litemill.spec import DataSpec

RNG = np.random.default_rng(7)
COUNTS = {"train": 40, "test": 12, "calibration": 34}
SET = {
    name: (RNG.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8), np.sort(np.arange(count) % 2))
    for name, count in COUNTS.items()
}
"""Samples and labels of two classes by split; sorted by class, which is how a folder of images comes."""


def png(x: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(x).save(stream, "PNG")
    return stream.getvalue()


def image_folder(root: Path) -> DataSpec:
    for split, (x, y) in SET.items():
        for row, (image, label) in enumerate(zip(x, y, strict=True)):
            path = root / split / ("cat", "dog")[label] / f"{row:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image))
    return DataSpec(kind="image_folder", uri=str(root))


def npz(root: Path) -> DataSpec:
    root.mkdir()
    arrays = {f"{key}_{split}": array for split, pair in SET.items() for key, array in zip("xy", pair, strict=True)}
    np.savez(root / "data.npz", **arrays)
    return DataSpec(kind="npz", uri=str(root / "data.npz"))


def numpy(root: Path) -> DataSpec:
    root.mkdir()
    for split, (x, y) in SET.items():
        np.save(root / f"x_{split}.npy", x)
        np.save(root / f"y_{split}.npy", y)
    return DataSpec(kind="numpy", uri=str(root))


def record(content: bytes) -> bytes:
    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    header = struct.pack("<Q", len(content))
    return header + struct.pack("<I", masked(header)) + content + struct.pack("<I", masked(content))


def example(**features: Any) -> bytes:
    message = example_class()()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.extend(value)
    return bytes(message.SerializeToString())


def tfrecord(root: Path, encoding: str = "image") -> DataSpec:
    root.mkdir()
    encode: dict[str, Callable[[np.ndarray], Any]] = {
        "image": png,
        "raw": lambda x: x.tobytes(),
        "values": lambda x: x.ravel().tolist(),
    }
    for split, (x, y) in SET.items():
        content = [record(example(image=encode[encoding](a), label=int(b))) for a, b in zip(x, y, strict=True)]
        half = len(content) // 2
        (root / f"{split}-0.tfrecord").write_bytes(b"".join(content[:half]))
        (root / f"{split}-1.tfrecord").write_bytes(b"".join(content[half:]))
    options: dict[str, Any] = {"encoding": encoding}
    if encoding != "image":
        options["shape"] = [6, 5, 3]
    return DataSpec(kind="tfrecord", uri=str(root), options=options)


def load_set(scale: int = 1) -> dict[str, Any]:
    """What a user's own function looks like."""
    return {split: (x * scale, y) for split, (x, y) in SET.items()}


def python(root: Path) -> DataSpec:
    return DataSpec(kind="python", options={"function": f"{__name__}:load_set", "arguments": {"scale": 1}})


SOURCES: dict[str, Callable[[Path], DataSpec]] = {
    "npz": npz,
    "numpy": numpy,
    "image_folder": image_folder,
    "tfrecord": tfrecord,
    "tfrecord-raw": lambda root: tfrecord(root, "raw"),
    "tfrecord-values": lambda root: tfrecord(root, "values"),
    "python": python,
}


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


def compressed(spec: DataSpec) -> None:
    path = Path(spec.uri) / "train-0.tfrecord"
    path.write_bytes(gzip.compress(path.read_bytes()))


def no_example(spec: DataSpec) -> None:
    (Path(spec.uri) / "train-0.tfrecord").write_bytes(record(b"\xff\xff\xff"))


def no_test(spec: DataSpec) -> None:
    for path in Path(spec.uri).glob("*test*"):
        path.unlink()


GREY_BGR = {"channel_order": "bgr", "color": "grayscale"}


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
        ("tfrecord", compressed, {}, r"is no TFRecord file, .* Give uncompressed TFRecord files"),
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
    with pytest.raises(InputError, match=message) as told:
        check_source(spec)
    assert "\n" not in str(told.value)


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
        ({"kind": "csv", "uri": "x", "options": {"lable": "y"}}, "label: Field required"),
        ({"kind": "npz", "uri": "x", "options": {"a": 1}}, "unknown option 'a'; it takes none"),
        ({"kind": "tfrecord", "uri": "x", "options": {"encoding": "raw"}}, "encoding raw needs the shape of a sample"),
        ({"kind": "numpy"}, "data.kind numpy needs data.uri"),
        ({"kind": "digits", "task": "regression", "metric": "top1"}, "unknown metric 'top1' for task regression"),
        ({"kind": "python", "options": {"function": "no function"}}, "function: String should match pattern"),
    ],
)
def test_a_wrong_data_section_is_told(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as told:
        DataSpec.model_validate(section)
    assert message in str(told.value)


def test_every_kind_can_be_opened() -> None:
    assert set(OPENERS) == set(KINDS)
