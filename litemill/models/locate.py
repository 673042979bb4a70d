"""Find the model in a folder that holds more than a model, and call a model as its loader wants it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from litemill.errors import InputError
from litemill.models.saved_model import GRAPH

WEIGHTS = ".weights.h5"
SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite")
"""How model files are called, where one has to be looked for."""


MOST = 20_000
"""Files among which a model is looked for."""


@contextmanager
def named_as(path: Path, suffix: str) -> Iterator[Path]:
    """A path to a file that ends in a suffix: its own, or a link's for as long as it is needed."""
    if not suffix or path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        link = Path(folder) / f"model{suffix}"
        link.symlink_to(path.resolve())
        yield link


def model_inside(folder: Path) -> Path:
    """The only model in a folder, at whatever depth: MLflow's flavours keep theirs in `data/`.

    Raises:
        InputError: There is none, or more than one.
    """
    found: list[Path] = []
    inside = list(islice(folder.rglob("*"), MOST + 1))
    if len(inside) > MOST:
        raise InputError(f"is a folder with more than {MOST:,} files", where=str(folder), fix="Name the model in it")
    for path in sorted(inside):
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
