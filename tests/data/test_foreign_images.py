"""Images as other people store them: read as what they are, or refused in one line that names the file."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError
from tests.data.made_sources import loop, pipe

Array = np.ndarray
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (16, 6, 5), dtype=np.uint8)
LABELS = np.arange(16) % 2


def folder(root: Path, save: Callable[[Array, Path], None], *, classes: tuple[str, str] = ("cat", "dog")) -> DataSpec:
    """16 grey images in two classes below `train` and `test`, each saved by the function."""
    for row, (pixels, label) in enumerate(zip(GREY, LABELS, strict=True)):
        place = root / ("train" if row < 8 else "test") / classes[label]
        place.mkdir(parents=True, exist_ok=True)
        save(pixels, place / f"{row:02d}")
    return DataSpec.model_validate({"kind": "image_folder", "uri": str(root)})


def pixels_of(spec: DataSpec, out: Path) -> Array:
    """The test images, in the order in which they were made."""
    prepare_data(spec, 0, out)
    test = Splits.open(out).test
    order = np.argsort([*range(8, 16, 2), *range(9, 16, 2)])
    return np.asarray(test.x)[order]


def save_as(suffix: str, mode: str = "", **options: Any) -> Callable[[Array, Path], None]:
    def save(pixels: Array, path: Path) -> None:
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(path.with_suffix(suffix), **options)

    return save


def deep_png(pixels: Array, path: Path) -> None:
    Image.fromarray(pixels.astype(np.uint16) * 257).save(path.with_suffix(".png"))


def deep_tiff(pixels: Array, path: Path) -> None:
    Image.fromarray(pixels.astype(np.uint16) * 257).save(path.with_suffix(".tif"))


def float_tiff(pixels: Array, path: Path) -> None:
    Image.fromarray(pixels.astype(np.float32) / 255).save(path.with_suffix(".tiff"))


def turned(pixels: Array, path: Path) -> None:
    """Stored on its side; EXIF says how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(path.with_suffix(".png"), exif=exif)


@pytest.mark.parametrize(
    "save",
    [
        save_as(".png"),
        save_as(".png", "LA"),
        save_as(".gif"),
        save_as(".tif"),
        save_as(".webp", lossless=True),
        deep_png,
        deep_tiff,
        float_tiff,
        turned,
    ],
    ids=["grey", "alpha", "gif", "tiff", "webp", "png16", "tiff16", "float", "exif"],
)
def test_grey_images_are_the_same_however_they_are_stored(save: Callable[[Array, Path], None], tmp_path: Path) -> None:
    written = folder(tmp_path / "d", save).model_dump() | {"preprocessing": {"color": "grayscale"}}
    spec = DataSpec.model_validate(written)
    np.testing.assert_allclose(pixels_of(spec, tmp_path / "out")[..., 0], GREY[8:], atol=1.01)


def test_what_lies_between_two_grey_values_of_8_bit_is_kept(tmp_path: Path) -> None:
    fine = np.linspace(0, 1000, GREY[0].size).reshape(GREY[0].shape).astype(np.uint16)
    spec = folder(tmp_path / "d", lambda pixels, path: Image.fromarray(fine).save(path.with_suffix(".png")))
    np.testing.assert_allclose(pixels_of(spec, tmp_path / "out")[0, ..., 0], fine / 257, atol=1e-4)
    raw = spec.model_dump() | {"preprocessing": {"scale": 1 / 65535}}
    with pytest.raises(InputError, match=r"data\.preprocessing\.scale: is 1\.52.*brought to 0 … 255.* Write 0\.0039"):
        check_source(DataSpec.model_validate(raw))


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 4), ("RGB", 3), ("CMYK", 3), ("P", 3)])
def test_colour_images_have_the_channels_that_are_asked_for(mode: str, channels: int, tmp_path: Path) -> None:
    suffix = ".tif" if mode == "CMYK" else ".png"
    color = np.stack([GREY, 255 - GREY, GREY // 2, GREY], axis=-1)[..., :3]
    rows = iter(color)
    alpha = [np.concatenate([one, 255 - one[..., :1]], axis=-1) for one in color]

    def save(pixels: Array, path: Path) -> None:
        one = next(rows)
        image = Image.fromarray(alpha[int(path.name)]) if mode == "RGBA" else Image.fromarray(one).convert(mode)
        image.save(path.with_suffix(suffix))

    spec = folder(tmp_path / "d", save)
    written = spec.model_dump() | {"preprocessing": {"color": "rgba" if channels == 4 else "rgb"}}
    found = pixels_of(DataSpec.model_validate(written), tmp_path / "out")
    assert found.shape == (8, 6, 5, channels)
    if mode != "P":
        np.testing.assert_array_equal(found, np.stack(alpha[8:]) if channels == 4 else color[8:])
    if channels == 3:
        with pytest.raises(InputError, match=r"has no alpha channel .*four channels are asked for"):
            check_source(DataSpec.model_validate(spec.model_dump() | {"preprocessing": {"color": "rgba"}}))


def test_what_systems_leave_behind_is_no_class_and_no_image(tmp_path: Path) -> None:
    spec = folder(tmp_path / "d", save_as(".png"))
    for name in (".ipynb_checkpoints", "__MACOSX", ".hidden"):
        (tmp_path / "d" / "train" / name).mkdir()
        shutil.copy(tmp_path / "d/train/cat/00.png", tmp_path / "d" / "train" / name / "x.png")
        shutil.copytree(tmp_path / "d/train" / name, tmp_path / "d/train/cat" / name)
    (tmp_path / "d/train/cat/._00.png").write_bytes(b"\0\5\x16\7Mac OS X")
    facts = check_source(spec)
    assert (facts.classes, facts.samples["train"]) == (2, 8)


def bomb(path: Path) -> None:
    """A PNG of 40,000 × 40,000 pixels in a few hundred kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"\0" * 40_001 * 1000, 9)
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (bomb, r"00\.png: has 40,000 × 40,000 pixels, 100,000,000 are the most"),
        (pipe, r"00\.png: is not a file"),
        (loop, r"00\.png: cannot be read"),
        (lambda path: path.write_bytes(b""), r"00\.png: is no readable image"),
        (lambda path: path.write_bytes(b"P6 5 -6 255 " + b"x" * 90), r"00\.png: is "),
        (lambda path: path.write_bytes(b"P5 99999999999999999999 6 255\n"), r"00\.png: is "),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), r"00\.png: is (truncated|no readable)"),
        (lambda path: Image.fromarray(GREY[0].astype(np.int32)).save(path, "TIFF"), r"00\.png: has 32-bit integers"),
        (
            lambda path: Image.fromarray(GREY[0].astype(np.float32)).save(path, "TIFF"),
            r"00\.png: has float values outside of 0 … 1\. Bring them",
        ),
    ],
)
def test_an_image_that_cannot_be_read_is_named(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    spec = folder(tmp_path / "d", save_as(".png"))
    damage(tmp_path / "d/train/cat/00.png")
    with pytest.raises(InputError, match=message) as caught:
        check_source(spec)
    assert len(str(caught.value).splitlines()) == 1
