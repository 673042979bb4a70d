"""An artifact that is missing because its task failed: the folder says so, and later steps name it."""

from __future__ import annotations

from pathlib import Path

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import FAILURE
from litemill.evidence import Failure


def leave_failure(folder: Path, task: str, reason: str) -> Failure:
    """Leave the reason in the place of an artifact.

    Args:
        folder: Where the task's artifact should be; made where it is not there.
        task: Name of the task.
        reason: Its true error, one line.
    """
    failure = Failure(task=task, reason=reason)
    write_manifest(folder / FAILURE, failure)
    return failure


def failure_of(folder: Path | None) -> Failure | None:
    """Why a folder holds no artifact, or None where it may hold one.

    Raises:
        InputError: Its `failure.json` cannot be read.
    """
    if folder is None or not (folder / FAILURE).is_file():
        return None
    return read_manifest(folder / FAILURE, Failure)
