"""Find the model in a folder that holds more than a model."""

from __future__ import annotations

from pathlib import Path

from litemill.errors import InputError
from litemill.models.saved_model import GRAPH

WEIGHTS = ".weights.h5"
SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite")
"""How model files are called, where one has to be looked for."""


def model_inside(folder: Path) -> Path:
    """The only model in a folder, at whatever depth: MLflow's flavours keep theirs in `data/`.

    Raises:
        InputError: There is none, or more than one.
    """
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        is_model = path.suffix in SUFFIXES and path.is_file() and not path.name.endswith(WEIGHTS)
        if (is_model or (path / GRAPH).is_file()) and not any(path.is_relative_to(one) for one in found):
            found.append(path)
    if len(found) == 1:
        return found[0]
    if not found:
        what = f"is a folder without {GRAPH}: no SavedModel, and no {', '.join(SUFFIXES)} file is in it"
        raise InputError(what, where=str(folder))
    names = ", ".join(path.relative_to(folder).as_posix() for path in found)
    raise InputError(f"is a folder with {len(found)} models: {names}", where=str(folder), fix="Name one of them")
