"""Log what a run kept on disk while MLflow was down, and do what was waiting for that."""

from __future__ import annotations

from pathlib import Path

from litemill.stages.release import release
from litemill.track import sync as kept
from litemill.track.spool import Release


def sync(folder: str | Path) -> kept.Synced:
    """Log what MLflow has not got of a run, once, into the runs that it had begun. Done again, it changes nothing.

    A winner that should have been registered or released is so now.

    Args:
        folder: The results of a run that ended while MLflow was down.

    Returns:
        What MLflow has now.

    Raises:
        InputError: The folder holds no run, or MLflow at this address does not know the run that had begun.
        LitemillError: MLflow cannot be used still; all stays on disk.
    """
    return kept.sync(folder, _release)


def _release(results: Path, wanted: Release) -> str:
    return release(results, wanted.uri, **wanted.options)
