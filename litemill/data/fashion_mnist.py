"""Data kind `fashion_mnist`: 60,000 + 10,000 images of clothes, 28×28×1 uint8 (Xiao, Rasul & Vollgraf, 2017).

Read from the four IDX files as published, in the folder the config names, else where Debian's `dataset-fashion-mnist`
or Keras's download puts them.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from litemill.artifacts.storage import fetch
from litemill.config.run import DataSpec
from litemill.data.labels import targets_for
from litemill.data.source import Samples, Source, SourceSplit, reading_through, rows_per_block
from litemill.errors import InputError

PLACES = (Path("/usr/share/datasets/fashion-mnist"), Path("~/.keras/datasets/fashion-mnist"))
PREFIX = {"train": "train", "test": "t10k"}
IMAGES, LABELS = 0x0803, 0x0801
"""Magic numbers of the IDX format: unsigned bytes in three and in one dimension."""
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
LARGEST = 10_000_000
UINT8 = np.dtype(np.uint8)


def open_fashion_mnist(spec: DataSpec, seed: int) -> Source:
    """Open Fashion-MNIST.

    Raises:
        InputError: It is nowhere to be found, or a file is damaged.
    """
    folder = fetch(spec.uri) if spec.uri else _find()
    splits = {}
    for name, prefix in PREFIX.items():
        images, labels = folder / f"{prefix}-images-idx3-ubyte.gz", folder / f"{prefix}-labels-idx1-ubyte.gz"
        count, *size = idx_shape(images, IMAGES)
        stored = np.concatenate(list(_blocks(labels, LABELS)))
        targets = targets_for(spec.task, stored, count, str(labels))
        read = reading_through(partial(_images, images))
        splits[name] = SourceSplit(name, str(images), (*size, 1), UINT8, targets, read)
    return Source(splits, CLASSES)


def _images(path: Path) -> Iterator[Samples]:
    return (block[..., np.newaxis] for block in _blocks(path, IMAGES))


def idx_shape(path: Path, magic: int) -> tuple[int, ...]:
    """Shape of the array in a gzipped IDX file.

    Raises:
        InputError: Not such a file.
    """
    try:
        with gzip.open(path) as stream:
            header = struct.unpack(f">{1 + (magic & 0xFF)}i", stream.read(4 * (1 + (magic & 0xFF))))
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"is no gzipped IDX file ({error})", where=str(path)) from None
    if header[0] != magic:
        raise InputError("is no IDX file of the kind expected", where=str(path))
    if not all(0 < size <= LARGEST for size in header[1:]):
        raise InputError(f"has shape {list(header[1:])}, which is not one of images", where=str(path))
    return header[1:]


def _find() -> Path:
    for place in PLACES:
        if place.expanduser().is_dir():
            return place.expanduser()
    fix = "Install Debian's dataset-fashion-mnist, or name the folder with the four .gz files in data.uri"
    raise InputError("Fashion-MNIST is not on this machine", where="data.kind fashion_mnist", fix=fix)


def _blocks(path: Path, magic: int) -> Iterator[Samples]:
    count, *size = idx_shape(path, magic)
    rows, bytes_each = rows_per_block(tuple(size), UINT8), int(np.prod(size))
    try:
        with gzip.open(path) as stream:
            stream.read(4 * (2 + len(size)))
            for start in range(0, count, rows):
                wanted = min(rows, count - start)
                yield np.frombuffer(stream.read(wanted * bytes_each), np.uint8).reshape(wanted, *size)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None
