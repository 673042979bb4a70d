"""Data kind `image_folder` at the task `segmentation`: a mask of the same name for each image, in a folder beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from litemill.config.run import DataSpec
from litemill.data.files import files_below
from litemill.data.images import BROKEN, Decoding, reading_images, settle, upright
from litemill.data.labels import targets_for
from litemill.data.sampling import in_proportion
from litemill.data.source import Samples, Source, SourceSplit
from litemill.errors import InputError
from litemill.process.contained import contained

IMAGES = ("images", "image", "imgs", "img", "JPEGImages")
MASKS = ("masks", "mask", "labels", "annotations", "SegmentationClass")
"""Names that the folders may have; the first that is there is taken."""
MASK_ENDS = ("", "_mask", "-mask", "_label", "_seg")
"""What the name of a mask may have behind that of its image."""
CLASS_MODES = {"1", "L", "P", "I", "I;16", "I;16B", "LA"}
"""Pillow's modes of images with one number a pixel; a palette's are its indices."""

Pair = tuple[Path, Path]


def open_mask_folder(
    spec: DataSpec, root: Path, folders: dict[str, Path | None], suffixes: frozenset[str], fraction: float, seed: int
) -> Source:
    """Open a folder of images with masks.

    Args:
        spec: The data section.
        root: The folder.
        folders: The folder of each split, where there is one; each holds `images` and `masks`. Else `root` does, and a
            test split is drawn.
        suffixes: Endings of files that are images.
        fraction: Of the samples that become the test split where one is drawn.
        seed: Of that draw.

    Raises:
        InputError: A folder, an image or a mask is missing or cannot be read.
    """
    warnings: list[str] = []
    if folders["train"] and folders["test"]:
        listed = {name: _pairs(folder, suffixes) for name, folder in folders.items() if folder}
    else:
        pairs = _pairs(root, suffixes)
        count = max(1, round(len(pairs) * fraction))
        test = set(in_proportion(np.zeros(len(pairs), np.int64), count, np.random.default_rng(seed)).tolist())
        listed = {
            "train": [pair for row, pair in enumerate(pairs) if row not in test],
            "test": [pair for row, pair in enumerate(pairs) if row in test],
        }
        warnings.append(f"no split tree: {fraction:.0%} drawn as test split; the model may have been trained on them")
    if not listed["train"]:
        raise InputError("has one image only, too few for a train split", where=spec.uri)
    settled = settle(listed["train"][0][0], spec.preprocessing, str(listed["train"][0][0]))
    splits = {name: _split(spec, name, pairs, settled) for name, pairs in listed.items()}
    return Source(splits, warnings=warnings)


def _split(spec: DataSpec, name: str, pairs: Sequence[Pair], settled: Decoding) -> SourceSplit:
    names = [str(image) for image, _ in pairs]
    read = reading_images([image for image, _ in pairs], names.__getitem__, settled)
    height, width = settled.height, settled.width
    masks = np.empty((len(pairs), height, width), np.int32)
    for row, (_, mask) in enumerate(pairs):
        masks[row] = read_mask(mask, (height, width), may_resize=settled.may_resize)
    where = f"{spec.uri}[{name}]"
    targets = targets_for(spec.task, masks, len(pairs), where)
    return SourceSplit(name, where, settled.shape, settled.dtype, targets, read)


def read_mask(path: Path, size: tuple[int, int], *, may_resize: bool) -> Samples:
    """The class of each pixel of a mask, `[height, width]`.

    Args:
        path: A grey image of class indices, or one with a palette, whose indices are the classes.
        size: Height and width to bring it to; the nearest pixel is taken, because classes have no mean.
        may_resize: Whether it may have another size.

    Raises:
        InputError: It cannot be read, is a colour image, or has another size.
    """
    found: Samples = contained(f"{__name__}:mask_here", path, list(size), may_resize, where=str(path))
    return found


def mask_here(path: str, size: tuple[int, int], may_resize: bool) -> Samples:
    """Read a mask in this process; the child's side of `read_mask`."""
    with upright(path, path) as image:
        size = (size[0], size[1])
        if image.mode not in CLASS_MODES:
            fix = "Give masks with one number a pixel, the index of its class: grey images or ones with a palette"
            raise InputError(f"is a mask in the colour mode {image.mode}", where=str(path), fix=fix)
        if (image.height, image.width) != size and not may_resize:
            what = f"is {image.height}×{image.width}, its image is {size[0]}×{size[1]}"
            raise InputError(what, where=str(path), fix="Set data.preprocessing.resize: [height, width]")
        try:
            pixels = image.getchannel(0) if image.mode == "LA" else image
            if (image.height, image.width) != size:
                pixels = pixels.resize((size[1], size[0]), Image.Resampling.NEAREST)
            return np.asarray(pixels).astype(np.int32)
        except BROKEN as error:
            raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None


def _pairs(folder: Path, suffixes: frozenset[str]) -> list[Pair]:
    """Each image with its mask, in the order of the names."""
    images, masks = (_inner(folder, names) for names in (IMAGES, MASKS))
    by_name = {path.with_suffix("").relative_to(masks): path for path in _files(masks, suffixes)}
    found = []
    for image in _files(images, suffixes):
        name = image.with_suffix("").relative_to(images)
        mask = next((by_name[key] for end in MASK_ENDS if (key := name.with_name(name.name + end)) in by_name), None)
        if mask is None:
            raise InputError("has no mask of the same name", where=str(image), fix=f"Masks are looked for in {masks}")
        found.append((image, mask))
    if not found:
        raise InputError(f"has no images ({', '.join(sorted(suffixes))})", where=str(images))
    return found


def _inner(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    fix = "Task segmentation needs the folders images and masks, there or below train and test"
    raise InputError(f"has no folder {names[0]!r}", where=str(folder), fix=fix)


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return files_below(folder, lambda name: Path(name).suffix.lower() in suffixes)
