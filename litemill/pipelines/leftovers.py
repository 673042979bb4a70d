"""What a run keeps beside its results while it runs, and what the next one finds of a run that was killed.

`<work>/runs/<id>.json` names a run's temporary folder and its MLflow run; its process holds a lock on it. A record that
nobody holds is of a run that was killed: its temporary files are removed, and its MLflow run is closed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from litemill.errors import LitemillError
from litemill.track.store import tracking_uri

RUNS = "runs"
PREFIX = "litemill-run-"


@dataclass(frozen=True)
class Record:
    """A run.

    Attributes:
        job: Its id, which MLflow's parent run has as a tag.
        experiment: Name of its MLflow experiment.
        temporary: Its folder for temporary files.
        store: Digest of the address of its MLflow store: an address may hold a password.
        pid: Its process.
    """

    job: str
    experiment: str
    temporary: str
    store: str
    pid: int


def store_digest() -> str:
    """Tells one MLflow store from another."""
    return hashlib.sha256(tracking_uri().encode()).hexdigest()[:16]


@contextmanager
def recorded(work: Path, job: str, experiment: str) -> Iterator[Path]:
    """Keep a run's record for the block, and yield its folder for temporary files; both are gone afterwards.

    Raises:
        LitemillError: There is no folder for temporary files.
    """
    try:
        temporary = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        raise LitemillError(
            f"there is no folder for temporary files: {error.strerror}", where="TMPDIR", fix="Set it to one"
        ) from None
    record = Record(job, experiment, str(temporary), store_digest(), os.getpid())
    path = work / RUNS / f"{job}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(asdict(record)))
        file.flush()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            path.unlink(missing_ok=True)
            with suppress(OSError):  # another run is in it
                path.parent.rmdir()


def of_killed_runs(work: Path) -> list[Record]:
    """Take over the records of runs that were killed, and remove their temporary files.

    Returns:
        Those whose MLflow run may still be open; `forget` them once it is closed.
    """
    found = []
    for path in sorted((work / RUNS).glob("*.json")):
        try:
            with path.open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                record = Record(**json.load(file))
        except BlockingIOError:
            continue
        except (OSError, ValueError, TypeError):
            path.unlink(missing_ok=True)
            continue
        place = Path(record.temporary)
        if place.name.startswith(PREFIX) and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        if record.store == store_digest():
            found.append(record)
    return found


def running_jobs(work: Path) -> set[str]:
    """Ids of the runs that go on in a work folder."""
    found = set()
    for path in (work / RUNS).glob("*.json"):
        try:
            with path.open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found.add(path.stem)
        except OSError:
            continue
    return found


def forget(work: Path, record: Record) -> None:
    """Remove the record of a killed run."""
    (work / RUNS / f"{record.job}.json").unlink(missing_ok=True)
