"""Decode images the way the preprocessing contract says: upright, colour mode, then a bilinear resize, `[h, w, c]`.

Pillow decodes in a child process: an image that crashes it, hangs or unpacks to gigabytes is refused by its name.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from litemill.config.run import Preprocessing
from litemill.data.source import Index, Samples, rows_per_block
from litemill.errors import InputError
from litemill.process.contained import contained
from litemill.process.limits import Limits

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
"""Channels of each colour mode."""
MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
DEEP = {"I;16": 65535.0, "I;16L": 65535.0, "I;16B": 65535.0, "I;16N": 65535.0, "F": 1.0}
"""Modes of Pillow with more than 8 bit for each pixel, and the value of white. Its `convert` would cut them at 255."""
LARGEST = 100_000_000
"""Pixels of an image: more is an attack, or a map that should be cut first."""
AT_ONCE = 16
"""Images decoded by one call of the child."""
BYTES_EACH = 8 << 20
"""Of the child's limits for each image, on top of what its file asks for."""
Encoded = Path | bytes
BROKEN = (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError, ZeroDivisionError)
"""What Pillow's readers raise on damaged files."""


@dataclass(frozen=True)
class Decoding:
    """How images become samples.

    Attributes:
        color: `grayscale`, `rgb` or `rgba`.
        height: Of a sample.
        width: Of a sample.
        deep: Whether samples are float32, of images with more than 8 bit: brought to 0 … 255 like all others, but
            not rounded. Else uint8.
        may_resize: Whether images of another size are brought to this one: the config or the model names it.
    """

    color: str
    height: int
    width: int
    deep: bool
    may_resize: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a sample."""
        return self.height, self.width, CHANNELS[self.color]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample."""
        return np.dtype(np.float32 if self.deep else np.uint8)


def settle(first: Encoded, spec: Preprocessing, where: str) -> Decoding:
    """How all images are decoded: what the config leaves open, colour mode and size, is taken from the first image.

    Raises:
        InputError: It is not an image, or a deep one with a scale that takes it for raw numbers.
    """
    color, height, width, deep = _call("look", [first], [where])
    if deep and 0 < abs(spec.scale) < 1 / 4096:
        what = f"is {spec.scale:g}, but images of more than 8 bit are brought to 0 … 255 as all others are"
        raise InputError(what, where="data.preprocessing.scale", fix="Write 0.00392156862745098, which is 1/255")
    height, width = spec.resize or (height, width)
    return Decoding(spec.color or color, height, width, deep, bool(spec.resize))


def decode(encoded: Encoded, how: Decoding, where: str) -> Samples:
    """Decode one image.

    Args:
        encoded: A file, or its bytes.
        how: See `settle`.
        where: How to point a user at it.

    Returns:
        `[height, width, channels]`.

    Raises:
        InputError: It can't be decoded, has another size, or lacks an alpha channel that is asked for.
    """
    found: Samples = decode_all([encoded], how, [where])[0]
    return found


def decode_all(items: Sequence[Encoded], how: Decoding, names: Sequence[str]) -> Samples:
    """Decode images, `[images, height, width, channels]`; see `decode`."""
    rows = np.empty((len(items), *how.shape), how.dtype)
    for start in range(0, len(items), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        rows[part] = _call("decode_here", items[part], names[part], asdict(how))
    return rows


def reading_images(
    items: Sequence[Encoded], names: Callable[[int], str], how: Decoding
) -> Callable[[Index], Iterator[Samples]]:
    """Read rows of a list of encoded images, decoding only those asked for."""

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(how.shape, how.dtype)
        for start in range(0, len(index), rows):
            part = index[start : start + rows].tolist()
            yield decode_all([items[row] for row in part], how, [names(row) for row in part])

    return read


def _call(function: str, items: Sequence[Encoded], names: Sequence[str], *more: Any) -> Any:
    """Call a function of this module in the child; what it dies of is looked for one by one."""
    size = sum(len(item) if isinstance(item, bytes) else _size(item) for item in items) + BYTES_EACH * len(items)
    limits = Limits.for_size(size)
    try:
        return contained(f"{__name__}:{function}", list(items), list(names), *more, where="", limits=limits)
    except InputError as error:
        if error.where in names:
            raise
        if len(items) == 1:
            raise InputError(error.what, where=names[0], fix=error.fix) from None
    for item, name in zip(items, names, strict=True):
        _call(function, [item], [name], *more)
    raise InputError("is read alone, but not among others", where=names[0])


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (paths arrive as texts)
    except OSError:
        return 0


def look(items: list[Encoded], names: list[str]) -> list[Any]:
    """Colour mode, height, width and depth of the first image; the child's side of `settle`."""
    image = upright(items[0], names[0])
    bands = len(image.getbands())
    color = "grayscale" if bands <= 2 and image.mode not in ("P", "PA") else "rgb"
    return [color, image.height, image.width, image.mode in DEEP or image.mode == "I"]


def decode_here(items: list[Encoded], names: list[str], how: dict[str, Any]) -> NDArray[Any]:
    """Decode images in this process; the child's side of `decode_all`."""
    wanted = Decoding(**how)
    return np.stack([_decoded(item, wanted, name) for item, name in zip(items, names, strict=True)])


def _decoded(encoded: Encoded, how: Decoding, where: str) -> NDArray[Any]:
    image = upright(encoded, where)
    size = (how.width, how.height)
    if image.size != size and not how.may_resize:
        what = f"is {image.height}×{image.width}, the first image is {how.height}×{how.width}"
        raise InputError(what, where=where, fix="Set data.preprocessing.resize: [height, width]")
    if how.color == "rgba" and not image.has_transparency_data:
        what = f"has no alpha channel ({image.mode}), and four channels are asked for"
        raise InputError(what, where=where, fix="Give images with four channels, or arrays (kind numpy or npz)")
    if (image.mode in DEEP or image.mode == "I") and not how.deep:
        what = f"has more than 8 bit ({image.mode}), the first image has 8"
        raise InputError(what, where=where, fix="Convert the images to one depth")
    try:
        if image.mode in DEEP or image.mode == "I":
            return _deep(image, how, where)
        pixels = image.convert(MODES[how.color])
        if pixels.size != size:
            pixels = pixels.resize(size, Image.Resampling.BILINEAR)
    except BROKEN as error:
        raise InputError(f"is truncated or damaged ({error})", where=where) from None
    array = np.asarray(pixels, how.dtype)
    return array if array.ndim == 3 else array[..., np.newaxis]


def _deep(image: Image.Image, how: Decoding, where: str) -> NDArray[np.float32]:
    """A grey image of 16 bit or of floats, white at 255 as in all others."""
    values = np.asarray(image, np.float32)
    # A PNG of 16 bit is an `I` for older versions of Pillow.
    white = DEEP["I;16"] if image.mode == "I" and image.format == "PNG" else DEEP.get(image.mode, 0.0)
    if not white:
        fix = "Give 8 or 16 bit, or arrays (kind numpy or npz)"
        raise InputError("has 32-bit integers, whose range nobody knows", where=where, fix=fix)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > white:
        fix = "Bring them to 0 … 1, or give arrays (kind numpy or npz)"
        raise InputError(f"has float values outside of 0 … {white:g}", where=where, fix=fix)
    grey = Image.fromarray(values * np.float32(255 / white))
    if grey.size != (how.width, how.height):
        grey = grey.resize((how.width, how.height), Image.Resampling.BILINEAR)
    return np.repeat(np.asarray(grey, np.float32)[..., np.newaxis], CHANNELS[how.color], axis=2)


def upright(encoded: Encoded | str, where: str) -> Image.Image:
    """An image, turned as its EXIF orientation says. Decodes in this process: call it in the child.

    Raises:
        InputError: It is not an image, a damaged one, or one of too many pixels.
    """
    Image.MAX_IMAGE_PIXELS = None  # the limit is below, with a number in its message
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
        if image.width * image.height > LARGEST:
            what = f"has {image.width:,} × {image.height:,} pixels, {LARGEST:,} are the most"
            raise InputError(what, where=where)
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise InputError("is no readable image (no image format known)", where=where) from None
    except BROKEN as error:
        raise InputError(f"is no readable image ({error})", where=where) from None
