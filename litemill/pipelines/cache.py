"""The cache of a local run: what a task gave, served again only as long as it is all there and unchanged.

`kfp.local` serves an entry as long as its paths exist. Here an entry lists the files of each artifact, and one that
misses a file, or whose file was changed, counts for nothing; every `.tflite` is held against its manifest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache

from litemill.artifacts.files import write_text
from litemill.artifacts.passing import passes
from litemill.artifacts.proof import check_bundles
from litemill.errors import LitemillError

log = logging.getLogger(__name__)


class TaskCache:
    """Outputs of tasks by the digest of all that decides them.

    Args:
        folder: Where the entries are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, component: str, image: str, command: list[str], arguments: Mapping[str, Any], env: Any) -> str:
        """Digest of a component, its image, its source, its arguments and its variables.

        An artifact counts by where it is and its metadata: what is there never changes, for each run has a folder of
        its own.
        """
        parts = [component, image, command, LocalCache._serialize_value_for_key(dict(arguments)), dict(env)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def get(self, key: str) -> dict[str, Any] | None:
        """The outputs of an entry; None where there is none that can be trusted."""
        path = self.folder / f"{key}.json"
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if not all(_unchanged(Path(place), files) for place, files in entry["artifacts"].items()):
                log.info("%s: an artifact is not as it was", path)
                return None
            found: dict[str, Any] = LocalCache._deserialize_outputs(entry["outputs"])
            for place in entry["artifacts"]:
                check_bundles(Path(place))
            os.utime(path)  # `litemill clean --older` removes what was not used for long
            return found
        except FileNotFoundError:
            return None
        except (OSError, LitemillError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.info("%s: cannot be used: %s", path, error)
            return None

    def put(self, key: str, outputs: Mapping[str, Any]) -> None:
        """Keep what a task gave, unless something in it failed for a reason that may be gone the next time."""
        if any(passes(Path(value.uri)) for value in outputs.values() if isinstance(value, dsl.Artifact)):
            log.info("%s is not kept: it failed for want of memory, time or a device", key)
            return
        artifacts = {
            value.uri: _files(Path(value.uri)) for value in outputs.values() if isinstance(value, dsl.Artifact)
        }
        entry = {"outputs": LocalCache._serialize_outputs(dict(outputs)), "artifacts": artifacts}
        write_text(self.folder / f"{key}.json", json.dumps(entry))

    def places(self) -> dict[Path, list[Path]]:
        """Every entry that can be read, with the folders and files of its artifacts."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                found[path] = [Path(place) for place in json.loads(path.read_text(encoding="utf-8"))["artifacts"]]
            except (OSError, ValueError, TypeError, KeyError):
                found[path] = []
        return found


def _files(place: Path) -> dict[str, list[int]]:
    """Size and time of change, in nanoseconds, of an artifact's files, by path relative to it."""
    found = {}
    for file in [place] if place.is_file() else sorted(place.rglob("*")):
        if file.is_file():
            state = file.stat()
            found[file.relative_to(place).as_posix()] = [state.st_size, state.st_mtime_ns]
    return found


def _unchanged(place: Path, files: dict[str, list[int]]) -> bool:
    return place.exists() and _files(place) == files
