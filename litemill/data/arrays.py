"""Data kinds `npz` and `numpy`: `x_train y_train x_test y_test` and perhaps `x_calibration y_calibration`, streamed.

`npz` holds them in one file, `numpy` as `.npy` files in a folder.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import IO

from litemill.data.labels import targets_for, unknown
from litemill.data.npy import NpyStream
from litemill.data.source import Source, SourceSplit, reading_through
from litemill.errors import InputError
from litemill.kinds import Task
from litemill.spec import DataSpec
from litemill.steps import nearest
from litemill.storage import fetch

Member = Callable[[str], NpyStream]


def open_npz(spec: DataSpec, seed: int) -> Source:
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

    def member(key: str) -> NpyStream:
        def open_member() -> IO[bytes]:
            with zipfile.ZipFile(path) as archive:
                return archive.open(f"{key}.npy")

        return NpyStream.of(f"{spec.uri}[{key}]", open_member)

    return _source(spec, keys, member)


def open_numpy(spec: DataSpec, seed: int) -> Source:
    """Open a folder of `.npy` files.

    Raises:
        InputError: No such folder, a file is missing, or labels do not fit their samples.
    """
    folder = fetch(spec.uri)
    if not folder.is_dir():
        raise InputError("is no folder of .npy files", where=spec.uri)

    def member(key: str) -> NpyStream:
        return NpyStream.of(f"{spec.uri}/{key}.npy", lambda: (folder / f"{key}.npy").open("rb"))

    return _source(spec, [path.stem for path in sorted(folder.glob("*.npy"))], member)


def _source(spec: DataSpec, keys: list[str], member: Member) -> Source:
    unlabelled = spec.task == "reconstruction"
    for key in ("x_train", "x_test") if unlabelled else ("x_train", "y_train", "x_test", "y_test"):
        if key not in keys:
            raise InputError(f"has no array {key!r}; {nearest(key, keys) if keys else 'it is empty'}", where=spec.uri)
    splits = {name: _split(member, name, spec.task, labelled=f"y_{name}" in keys) for name in ("train", "test")}
    if "x_calibration" in keys:
        splits["calibration"] = _split(member, "calibration", spec.task, labelled="y_calibration" in keys)
    return Source(splits)


def _split(member: Member, name: str, task: Task, *, labelled: bool) -> SourceSplit:
    x = member(f"x_{name}")
    if labelled:
        y = member(f"y_{name}")
        targets = targets_for(task, y.read(), x.shape[0], y.where)
    elif name == "calibration":
        targets = unknown(task, x.shape[0])
    else:
        targets = targets_for(task, None, x.shape[0], x.where)
    return SourceSplit(name, x.where, x.shape[1:], x.dtype, targets, reading_through(x.blocks))
