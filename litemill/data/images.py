"""Decode images the way the preprocessing contract says: colour mode, then a bilinear resize, as uint8 `[h, w, c]`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from litemill.config.run import Preprocessing
from litemill.data.source import Index, Samples, rows_per_block
from litemill.errors import InputError

MODES = {"rgb": "RGB", "grayscale": "L"}
Encoded = Path | bytes


def settle(first: Encoded, spec: Preprocessing, where: str) -> Preprocessing:
    """Fill in what the config leaves open, colour mode and size, from the first image."""
    with opened(first, where) as image:
        color = spec.color or ("grayscale" if image.mode in ("1", "L", "I;16", "LA") else "rgb")
        return spec.model_copy(update={"color": color, "resize": spec.resize or [image.height, image.width]})


def decode(encoded: Encoded, spec: Preprocessing, where: str, *, may_resize: bool) -> NDArray[np.uint8]:
    """Decode one image.

    Args:
        encoded: A file, or its bytes.
        spec: With colour mode and size filled in (`settle`).
        where: How to point a user at it.
        may_resize: False refuses an image of another size: the config names no size to bring it to.

    Raises:
        InputError: It can't be decoded, or has another size.
    """
    with opened(encoded, where) as image:
        height, width = spec.resize
        if (image.height, image.width) != (height, width) and not may_resize:
            what = f"is {image.height}×{image.width}, the first image is {height}×{width}"
            raise InputError(what, where=where, fix="Set data.preprocessing.resize: [height, width]")
        try:
            pixels = image.convert(MODES[spec.color])
            if pixels.size != (width, height):
                pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"is truncated or damaged ({error})", where=where) from None
    array = np.asarray(pixels, np.uint8)
    return array if array.ndim == 3 else array[..., np.newaxis]


def reading_images(
    items: Sequence[Encoded], names: Callable[[int], str], spec: Preprocessing, *, may_resize: bool
) -> Callable[[Index], Iterator[Samples]]:
    """Read rows of a list of encoded images, decoding only those asked for."""
    shape = image_shape(spec)

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(shape, np.dtype(np.uint8))
        for start in range(0, len(index), rows):
            part = index[start : start + rows].tolist()
            yield np.stack([decode(items[row], spec, names(row), may_resize=may_resize) for row in part])

    return read


def image_shape(spec: Preprocessing) -> tuple[int, int, int]:
    """Shape of a decoded image, where colour mode and size are filled in."""
    height, width = spec.resize
    return height, width, 1 if spec.color == "grayscale" else 3


def opened(encoded: Encoded, where: str) -> Image.Image:
    """An image file or its bytes, not decoded yet.

    Raises:
        InputError: It is not an image.
    """
    try:
        return Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        reason = "no image format known" if isinstance(error, UnidentifiedImageError) else str(error)
        raise InputError(f"is no readable image ({reason})", where=where) from None
