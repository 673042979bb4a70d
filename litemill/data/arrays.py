"""Data kinds `npz` and `numpy`: `x_train y_train x_test y_test` and perhaps `x_calibration y_calibration`, streamed.

`npz` is one file, `numpy` a folder of `.npy` files. Each of several inputs has its own: `x_train_<input>`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from typing import IO

from litemill.artifacts.inputs import joined, row_dtype
from litemill.artifacts.storage import fetch
from litemill.config.base import nearest
from litemill.config.run import DataSpec
from litemill.data.files import plain_file
from litemill.data.labels import targets_for, unknown
from litemill.data.npy import BROKEN, NpyStream
from litemill.data.source import Samples, Source, SourceSplit, reading_through, rows_per_block
from litemill.errors import InputError
from litemill.tasks import TASKS

MOST_UNPACKED, TIMES = 1 << 30, 500
"""An array in an archive may unpack to so many bytes, or to so many times what it is packed to."""
Member = Callable[[str], NpyStream]


def open_npz(spec: DataSpec, seed: int) -> Source:
    """Open an `.npz` file.

    Raises:
        InputError: No such file, not an npz, a key is missing, or labels do not fit their samples.
    """
    path = fetch(spec.uri)
    try:
        with zipfile.ZipFile(plain_file(path)) as archive:
            members = {item.filename.removesuffix(".npy"): item for item in archive.infolist() if _is_array(item)}
    except (*BROKEN, ValueError) as error:
        raise InputError(f"is no .npz file ({error})", where=spec.uri) from None
    for key, item in members.items():
        if item.file_size > max(MOST_UNPACKED, TIMES * item.compress_size):
            raise InputError(f"unpacks to {item.file_size:,} bytes", where=f"{spec.uri}[{key}]")

    def member(key: str) -> NpyStream:
        def open_member() -> IO[bytes]:
            with zipfile.ZipFile(path) as archive:
                return archive.open(f"{key}.npy")

        return NpyStream.of(f"{spec.uri}[{key}]", open_member, members[key].file_size)

    return _source(spec, list(members), member)


def _is_array(item: zipfile.ZipInfo) -> bool:
    return item.filename.endswith(".npy")


def open_numpy(spec: DataSpec, seed: int) -> Source:
    """Open a folder of `.npy` files.

    Raises:
        InputError: No such folder, a file is missing, or labels do not fit their samples.
    """
    folder = fetch(spec.uri)
    if not folder.is_dir():
        raise InputError("is no folder of .npy files", where=spec.uri)

    def member(key: str) -> NpyStream:
        path = plain_file(folder / f"{key}.npy")
        return NpyStream.of(f"{spec.uri}/{key}.npy", lambda: path.open("rb"), path.stat().st_size)

    return _source(spec, [path.stem for path in sorted(folder.glob("*.npy"))], member)


def _source(spec: DataSpec, keys: list[str], member: Member) -> Source:
    inputs = list(spec.inputs)
    needed = [key for name in ("train", "test") for key in (*_keys(name, inputs), f"y_{name}")]
    given = [
        name for name in ("train", "test", "calibration") if name != "calibration" or _keys(name, inputs)[0] in keys
    ]
    needed += _keys("calibration", inputs) if "calibration" in given else []
    for key in needed:
        if key not in keys and not (key.startswith("y_") and TASKS[spec.task].optional):
            raise InputError(f"has no array {key!r}; {nearest(key, keys) if keys else 'it is empty'}", where=spec.uri)
    return Source({name: _split(member, name, spec, labelled=f"y_{name}" in keys) for name in given})


def _keys(split: str, inputs: list[str]) -> list[str]:
    """Names of the arrays with a split's samples."""
    return [f"x_{split}_{name}" for name in inputs] or [f"x_{split}"]


def _split(member: Member, name: str, spec: DataSpec, *, labelled: bool) -> SourceSplit:
    task, streams = spec.task, [member(key) for key in _keys(name, list(spec.inputs))]
    x = streams[0]
    for other in streams[1:]:
        if other.shape[0] != x.shape[0]:
            raise InputError(f"has {other.shape[0]} samples, {x.where} {x.shape[0]}", where=other.where)
    if labelled:
        y = member(f"y_{name}")
        if y.shape[0] != x.shape[0]:  # before all of them are read
            raise InputError(f"has {y.shape[0]} labels for {x.shape[0]} samples", where=y.where)
        targets = targets_for(task, y.read(), x.shape[0], y.where)
    elif name == "calibration":
        targets = unknown(task, x.shape[0])
    else:
        targets = targets_for(task, None, x.shape[0], x.where)
    if not spec.inputs:
        return SourceSplit(name, x.where, x.shape[1:], x.dtype, targets, reading_through(x.blocks))
    by_input = dict(zip(spec.inputs, streams, strict=True))
    dtype = row_dtype({key: (stream.dtype, stream.shape[1:]) for key, stream in by_input.items()})
    rows = rows_per_block((), dtype)

    def blocks() -> Iterator[Samples]:
        for parts in zip(*(stream.blocks(rows) for stream in streams), strict=True):
            yield joined(dict(zip(by_input, parts, strict=True)))

    return SourceSplit(name, f"{spec.uri}[{name}]", (), dtype, targets, reading_through(blocks))
