"""Log what a run kept on disk while MLflow was down: once, into the runs that it had begun."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, Field

from litemill.artifacts.bundle import recipe_folders
from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import DIAGNOSIS, REPORT, RESULTS, SUMMARY, UNSENT, VARIANT, VARIANTS
from litemill.artifacts.proof import check_bundles
from litemill.errors import InputError
from litemill.process import locks
from litemill.redact import redact
from litemill.select.evidence_folders import read_candidate
from litemill.select.results import Results
from litemill.track.comparison import publish
from litemill.track.outcome import RELEASED
from litemill.track.register import register
from litemill.track.runs import close_run, open_run, tag_run
from litemill.track.spool import SPOOL, Finish, Register, Release, Spool, Start, Tags
from litemill.track.store import StoreError, store_errors, tracking_uri
from litemill.track.variants import log_candidates

ReleaseWinner = Callable[[Path, Release], str]
"""Releases the winner in a results folder as it should have been; returns the address."""


class Synced(BaseModel):
    """What MLflow has now."""

    run_id: str = Field(description="the parent run")
    logged: bool = Field(description="whether anything had to be logged")
    variants: int = 0
    registered: str = Field("", description="version of the registered model that the winner is")
    release: str = Field("", description="address of the release that was made")


def sync(folder: str | Path, release: ReleaseWinner) -> Synced:
    """Log what MLflow has not got of a run. Done again, it changes nothing.

    Args:
        folder: The results of a run, or what it kept in its work folder.
        release: Releases the winner where that was waiting for its registration.

    Returns:
        What MLflow has now.

    Raises:
        InputError: The folder holds no run, or MLflow at this address does not know the run that had begun.
        DamagedFile: A file is not the one that its manifest speaks of.
        LitemillError: MLflow cannot be used still; all stays on disk.
    """
    results = Path(folder)
    place = results / UNSENT if (results / UNSENT).is_dir() else results
    spool = Spool(place)
    start = spool.kept("start", Start)
    if start is None:
        if not (results / RESULTS).is_file():
            fix = "Name the results folder of a run"
            raise InputError("holds nothing of a run that could be logged", where=str(folder), fix=fix)
        return Synced(run_id=read_manifest(results / RESULTS, Results).mlflow_run_id, logged=False)
    with locks.held(f"sync of {place.resolve()}", wait=600), _online():
        check_bundles(place)
        run_id = _parent(start)
        done = _log(results, spool, run_id, release)
        if place != results:
            shutil.rmtree(place)
    return done


def _log(results: Path, spool: Spool, run_id: str, release: ReleaseWinner) -> Synced:
    """Log all parts in the order in which the run would have."""
    done = Synced(run_id=run_id, logged=True)
    folders = recipe_folders(spool.folder / VARIANTS) if any(spool.folder.glob(f"{VARIANTS}/*/{VARIANT}")) else {}
    candidates = [read_candidate(one) for one in folders.values()]
    ids = log_candidates(run_id, candidates, keep=True)
    done.variants = len(ids)
    if (results / RESULTS).is_file() and results != spool.folder:
        found = read_manifest(results / RESULTS, Results)
        if found.mlflow_run_id != run_id:
            found = found.model_copy(update={"mlflow_run_id": run_id})
            write_manifest(results / RESULTS, found)
        _publish(results, run_id, dict(zip(folders, ids, strict=True)), found)
        if wanted := spool.kept("register", Register):
            done.registered = register(results, wanted.registered_model, run_id=run_id, promote=wanted.promote).version
        if waiting := spool.kept("release", Release):
            done.release = release(results, waiting)
            tag_run(run_id, {RELEASED: done.release})
    if tags := spool.kept("tags", Tags):
        tag_run(run_id, tags.tags)
    if ended := spool.kept("finish", Finish):
        with store_errors("finish a run") as client:
            close_run(client, run_id, ended.state, ended.error, ended.at)
    return done


def _publish(results: Path, run_id: str, runs: dict[str, str], found: Results) -> None:
    """Log the comparison, without the folder that is about this very thing."""
    with store_errors("log the comparison") as client, tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        folder = Path(scratch) / "results"
        folder.mkdir()
        for name in (RESULTS, REPORT, SUMMARY, DIAGNOSIS):
            if (results / name).is_file():
                shutil.copyfile(results / name, folder / name)
        shutil.copytree(results / VARIANTS, folder / VARIANTS)
        publish(client, run_id, runs, found, folder)


def _parent(start: Start) -> str:
    """The parent run: the one that had begun, else a new one."""
    if start.run_id:
        try:
            with store_errors("look up the run") as client:
                client.get_run(start.run_id)
        except StoreError as error:
            if "not found" not in error.what:
                raise
            fix = "Set MLFLOW_TRACKING_URI to where the run began"
            raise InputError(f"there is no run {start.run_id}", where=redact(tracking_uri()), fix=fix) from None
        return start.run_id
    return open_run(start)


@contextmanager
def _online() -> Iterator[None]:
    """Nothing in the block goes to disk in place of MLflow."""
    before = os.environ.pop(SPOOL, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[SPOOL] = before
