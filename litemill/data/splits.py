"""Read a prepared data set: memory-mapped arrays, so that memory stays flat however many samples there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import read_manifest
from litemill.artifacts.inputs import row_dtype
from litemill.artifacts.layout import DATASET, X, Y
from litemill.errors import InputError
from litemill.evidence.sources import DatasetManifest
from litemill.tasks import task_of


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        x: Model inputs, `[samples, *input_shape]`, preprocessed, in the type that the model takes, memory-mapped
            read-only. Of several inputs a structured array `[samples]` with a field for each, see
            `litemill.artifacts.inputs`.
        y: Targets `[samples, *target_shape]` as the task keeps them (`Task.fit`): a class index for each sample
            (int64), pixel or time step (int16), labels of 0 and 1 (int8), −1 where not known; or numbers, float32. A
            calibration split without targets has `[samples]` of −1 or NaN.
    """

    x: NDArray[Any]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Splits:
    """A prepared data set: its manifest and its three splits. Samples are in the order of their source."""

    manifest: DatasetManifest
    train: Split
    calibration: Split
    test: Split

    @classmethod
    def open(cls, folder: Path) -> Splits:
        """Open a Dataset artifact.

        Raises:
            InputError: A file is missing or does not fit the manifest.
        """
        folder = Path(folder)
        manifest = read_manifest(folder / DATASET, DatasetManifest)
        train, calibration, test = (_open(folder, manifest, name) for name in ("train", "calibration", "test"))
        return cls(manifest, train, calibration, test)


def _open(folder: Path, manifest: DatasetManifest, name: str) -> Split:
    samples = manifest.splits[name].samples
    dtype = np.dtype(manifest.dtype)
    if manifest.inputs:
        types = {name: np.dtype(manifest.dtypes.get(name, "float32")) for name in manifest.inputs}
        dtype = row_dtype({name: (types[name], tuple(shape)) for name, shape in manifest.inputs.items()})
    x = _array(folder / name / X, (samples, *manifest.input_shape), dtype)
    y = _array(folder / name / Y, None, np.dtype(task_of(manifest.task).dtype))
    if y.shape != (samples, *manifest.target_shape) and not (name == "calibration" and y.shape == (samples,)):
        what = f"has shape {list(y.shape)}, the manifest says {[samples, *manifest.target_shape]}"
        raise InputError(what, where=str(folder / name / Y))
    return Split(x, y)


def _array(path: Path, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read ({error})", where=str(path)) from None
    if array.shape != (shape or array.shape) or array.dtype != dtype:
        what = f"is {array.dtype}{list(array.shape)}, the manifest says {dtype}{list(shape or array.shape)}"
        raise InputError(what, where=str(path))
    return array  # type: ignore[no-any-return]
