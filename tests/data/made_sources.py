"""The same samples of two classes as every kind of source holds them."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c
from PIL import Image

from litemill.config.run import DataSpec
from litemill.data.tfrecord import example_class

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


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)
