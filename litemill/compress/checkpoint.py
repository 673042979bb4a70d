"""Checkpoints of a training, outside the artifact: a task that was killed resumes from its last whole epoch.

The folder is named by a digest of all that decides the result (model, data, options, library code, versions), so a
changed input never resumes an old training. A checkpoint is a plain `.npz`: nothing in it is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import sha256_of

VARIABLE = "LITEMILL_CHECKPOINTS"
_STATE = "state.json"
log = logging.getLogger(__name__)


@dataclass
class Snapshot:
    """A training between two epochs.

    Attributes:
        epochs: Loss, accuracy and so on of each epoch that is done.
        arrays: Every variable of the model and of the optimizer, in their order.
        best: Those of the model at the best epoch so far, where early stopping watches.
    """

    epochs: list[dict[str, float]]
    arrays: list[NDArray[Any]]
    best: list[NDArray[Any]] = field(default_factory=list)


def root() -> Path:
    """Where checkpoints live: LITEMILL_CHECKPOINTS (a durable volume on a cluster), else the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(VARIABLE) or cache / "litemill" / "checkpoints")


def key(**inputs: Any) -> str:
    """Digest of all that decides the result of a training: the inputs given, this package's code, versions."""
    packages = {name: version(name) for name in ("tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy")}
    code = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        code.update(sha256_of(module).encode())
    text = json.dumps({"inputs": inputs, "packages": packages, "code": code.hexdigest()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Checkpoints:
    """The checkpoints of one training; only the newest is kept.

    Args:
        folder: Its own folder, named by `key`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot whole or not at all and drop the older ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = json.dumps({"epochs": snapshot.epochs, "arrays": len(snapshot.arrays)})
        arrays = {f"{index:06d}": value for index, value in enumerate([*snapshot.arrays, *snapshot.best])}
        target = self.folder / f"epoch-{len(snapshot.epochs):05d}.npz"
        handle, name = tempfile.mkstemp(prefix=".", dir=self.folder)
        with os.fdopen(handle, "wb") as stream:
            _write(stream, {_STATE: np.frombuffer(state.encode(), np.uint8), **arrays})
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
        for other in self.folder.glob("epoch-*.npz"):
            if other != target:
                other.unlink(missing_ok=True)

    def load(self) -> Snapshot | None:
        """The newest snapshot, or None where there is none that can be read."""
        for path in sorted(self.folder.glob("epoch-*.npz"), reverse=True):
            try:
                with np.load(path, allow_pickle=False) as stored:
                    state = json.loads(stored[_STATE].tobytes())
                    values = [stored[name] for name in sorted(set(stored.files) - {_STATE})]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                log.warning("cannot resume from %s (%s): training starts from the beginning", path, error)
                return None
            return Snapshot(state["epochs"], values[: state["arrays"]], values[state["arrays"] :])
        return None

    @property
    def epoch(self) -> int:
        """Number of whole epochs that the newest one holds; 0 where there is none."""
        numbers = [int(path.stem.removeprefix("epoch-")) for path in self.folder.glob("epoch-*.npz")]
        return max(numbers, default=0)

    def clear(self) -> None:
        """Remove them: the artifact they were for is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(stream: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    np.savez(stream, allow_pickle=False, **dict(arrays))
