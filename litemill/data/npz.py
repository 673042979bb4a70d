"""Data kind `npz`: `x_train y_train x_test y_test` and perhaps `x_calibration [y_calibration]`, streamed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from litemill.data.labels import class_indices
from litemill.data.npy import NpyStream
from litemill.data.source import Source, SourceSplit
from litemill.errors import InputError
from litemill.spec import DataSpec
from litemill.steps import nearest
from litemill.storage import fetch

NEEDED = ("x_train", "y_train", "x_test", "y_test")


def open_npz(spec: DataSpec) -> Source:
    """Open an `.npz` file.

    Raises:
        InputError: No such file, not an npz, a key is missing, or labels do not fit their samples.
    """
    path = fetch(spec.uri)
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"is no .npz file ({error})", where=spec.uri) from None
    for key in NEEDED:
        if key not in keys:
            raise InputError(f"has no array {key!r}; {nearest(key, keys) if keys else 'it is empty'}", where=spec.uri)
    splits = {name: _split(path, spec.uri, name) for name in ("train", "test")}
    if "x_calibration" in keys:
        splits["calibration"] = _split(path, spec.uri, "calibration", labelled="y_calibration" in keys)
    return Source(splits)


def _split(path: Path, uri: str, name: str, *, labelled: bool = True) -> SourceSplit:
    x = _member(path, uri, f"x_{name}")
    if labelled:
        y = _member(path, uri, f"y_{name}")
        labels = class_indices(y.read(), x.shape[0], y.where)
    else:
        labels = np.full(x.shape[0], -1, np.int64)
    return SourceSplit(name, x.where, x.shape[1:], x.dtype, labels, x.blocks)


def _member(path: Path, uri: str, key: str) -> NpyStream:
    def open_member() -> IO[bytes]:
        with zipfile.ZipFile(path) as archive:
            return archive.open(f"{key}.npy")

    return NpyStream.of(f"{uri}[{key}]", open_member)
