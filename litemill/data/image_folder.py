"""Data kind `image_folder`: one sub-folder a class, below `train` and `test` (and `calibration`) or straight below."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from litemill.artifacts.storage import fetch
from litemill.config.data_kinds import ImageFolderOptions
from litemill.config.run import DataSpec
from litemill.data.files import files_below, sub_folders
from litemill.data.images import reading_images, settle
from litemill.data.labels import targets_for
from litemill.data.mask_folder import open_mask_folder
from litemill.data.sampling import in_proportion
from litemill.data.source import Labels, Source, SourceSplit
from litemill.errors import InputError
from litemill.tasks import TASKS

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
    "calibration": ("calibration", "calib"),
}
"""Names a split's folder may have; the first that is there is taken."""


def open_image_folder(spec: DataSpec, seed: int) -> Source:
    """Open a folder of images. Classes are the sub-folders' names in alphabetical order, or each image has a mask.

    Raises:
        InputError: No such folder, no images, or classes that train doesn't know.
    """
    root, options = fetch(spec.uri), ImageFolderOptions.model_validate(spec.options)
    if not root.is_dir():
        raise InputError("is no folder", where=spec.uri)
    folders = {name: _split_folder(root, name) for name in SPLIT_FOLDERS}
    if TASKS[spec.task].positions == 2:
        return open_mask_folder(spec, root, folders, SUFFIXES, options.test_fraction, seed)
    warnings: list[str] = []
    if folders["train"] and folders["test"]:
        classes = _classes(folders["train"])
        listed = {name: _images(folder, classes) for name, folder in folders.items() if folder}
    else:
        classes = _classes(root)
        fraction = options.test_fraction
        listed = _divide(*_images(root, classes), fraction, seed)
        warnings.append(f"no split tree: {fraction:.0%} drawn as test split; the model may have been trained on them")
    return _source(spec, root, listed, classes, warnings)


def _source(
    spec: DataSpec, root: Path, listed: dict[str, tuple[list[Path], Labels]], classes: list[str], warnings: list[str]
) -> Source:
    settled = settle(listed["train"][0][0], spec.preprocessing, str(listed["train"][0][0]))
    splits = {}
    for name, (paths, labels) in listed.items():
        names = [str(path) for path in paths]
        read = reading_images(paths, names.__getitem__, settled)
        targets = targets_for(spec.task, labels, len(paths), spec.uri)
        where = f"{spec.uri}[{name}]"
        splits[name] = SourceSplit(name, where, settled.shape, settled.dtype, targets, read)
    return Source(splits, classes, warnings)


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image; what it holds is read from its content."""
    return Path(name).suffix.lower() in SUFFIXES


def _split_folder(root: Path, name: str) -> Path | None:
    return next((root / folder for folder in SPLIT_FOLDERS[name] if (root / folder).is_dir()), None)


def _classes(folder: Path) -> list[str]:
    found = sub_folders(folder)
    if len(found) < 2:
        raise InputError(f"has {len(found)} class folders, at least two are needed", where=str(folder))
    return found


def _images(folder: Path, classes: list[str]) -> tuple[list[Path], Labels]:
    unknown = sorted(set(_classes(folder)) - set(classes))
    if unknown:
        raise InputError(f"has class {unknown[0]!r}, which train does not have", where=str(folder))
    paths, labels = [], []
    for label, name in enumerate(classes):
        here = files_below(folder / name, is_image)
        paths += here
        labels += [label] * len(here)
    if not paths:
        raise InputError(f"has no images ({', '.join(sorted(SUFFIXES))})", where=str(folder))
    return paths, np.asarray(labels, np.int64)


def _divide(paths: list[Path], labels: Labels, fraction: float, seed: int) -> dict[str, tuple[list[Path], Labels]]:
    """Draw a test split, classes in proportion."""
    test = in_proportion(labels, max(1, round(len(paths) * fraction)), np.random.default_rng(seed))
    rows = {"train": np.setdiff1d(np.arange(len(paths)), test), "test": test}
    return {name: ([paths[row] for row in index], labels[index]) for name, index in rows.items()}
