"""Fork servers by what they import, one of each kind for a run; one can be started before the run is ready for it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from litemill.process.forks import ForkServer

Kind = Literal["light", "train"]

MODULES: dict[Kind, tuple[str, ...]] = {
    "light": (
        "kfp.dsl.executor_main",
        "litemill.track.store:import_mlflow",
        "jinja2",
        "litemill.evaluate.worker",
        "litemill.slim.worker",
        "litemill.stages.benchmark",
        "litemill.stages.champion",
        "litemill.stages.evaluate",
        "litemill.stages.finish",
        "litemill.stages.prepare",
        "litemill.stages.release",
    ),
    "train": (
        "litemill.models.backend:tf_keras",
        "tensorflow_model_optimization",
        "kfp.dsl.executor_main",
        "litemill.convert.worker",
        "litemill.slim.worker",
        "litemill.doctor.diagnose",
        "litemill.stages.convert",
        "litemill.stages.import_model",
        "litemill.stages.train",
    ),
}
"""What tasks of the edge image import, and what those of the train image do: TensorFlow first, which starts no threads
before it is used."""


@dataclass
class Preloaded:
    """A fork server, and what its imports print."""

    server: ForkServer
    printed: IO[bytes]

    def close(self, log: Path) -> None:
        """End the server with all that it forked, and leave in a file what its imports printed."""
        self.server.close()
        self.printed.seek(0)
        with log.open("wb") as file:
            shutil.copyfileobj(self.printed, file)
        self.printed.close()


_begun: dict[Kind, Preloaded] = {}


def begin(kind: Kind) -> None:
    """Start a server that `take` will find, while this process does something else; it ends with this process."""
    if kind not in _begun:
        printed = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the server)
        _begun[kind] = Preloaded(ForkServer(MODULES[kind], printed), printed)


def take(kind: Kind) -> Preloaded:
    """The server of a kind that was begun, or a new one; it is the caller's to close."""
    begin(kind)
    return _begun.pop(kind)
