"""Remove from a work folder what the cache no longer needs."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from litemill.errors import ConfigError
from litemill.pipelines.cache import TaskCache
from litemill.pipelines.leftovers import of_killed_runs, running_jobs

UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
PIPELINE, CACHE, LOGS = "pipeline", "cache", "logs"


@dataclass
class Cleaned:
    """What was removed: cache entries, folders and files of artifacts and logs, and their bytes."""

    entries: int = 0
    folders: int = 0
    bytes: int = 0


def seconds_of(age: str) -> float:
    """A time such as `30d`, `12h`, `90m` or `2w` in seconds.

    Raises:
        ConfigError: It is not written so.
    """
    found = re.fullmatch(r"(\d{1,6})([mhdw])", age.strip().lower())
    if not found:
        raise ConfigError("is not an age", where=f"--older {age}", fix="Write a number and m, h, d or w: 30d")
    return int(found[1]) * UNITS[found[2]]


def clean(work: Path, older: float | None = None) -> Cleaned:
    """Remove artifacts that no cache entry refers to, and the temporary files of runs that were killed.

    Runs that go on keep theirs.

    Args:
        work: The folder that runs work in.
        older: Also remove entries that were not used for so many seconds, what only they refer to, and logs as old.
    """
    done, now = Cleaned(), time.time()
    of_killed_runs(work)
    busy = running_jobs(work)
    needed: set[Path] = set()
    for entry, places in TaskCache(work / CACHE).places().items():
        old = older is not None and now - entry.stat().st_mtime > older
        if old or not places or not all(place.exists() for place in places):
            done.entries += 1
            entry.unlink(missing_ok=True)
        else:
            needed |= {place.parent for place in places}
    for run in _folders(work / PIPELINE):
        if run.name not in busy:
            for task in _folders(run):
                if task not in needed:
                    _remove(task, done)
            if not any(run.iterdir()):
                run.rmdir()
    for log in sorted((work / LOGS).glob("*")):
        if older is not None and now - log.stat().st_mtime > older and not any(log.name.endswith(job) for job in busy):
            _remove(log, done)
    return done


def _folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(place for place in folder.iterdir() if place.is_dir() and not place.is_symlink())


def _remove(place: Path, done: Cleaned) -> None:
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    done.bytes += sum(file.lstat().st_size for file in files)
    done.folders += 1
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
