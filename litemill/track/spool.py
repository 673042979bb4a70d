"""What a run on this machine keeps on disk of all that goes to MLflow, so that nothing is lost when MLflow is down.

The runner names a folder in `LITEMILL_SPOOL`. Every task that touches MLflow first leaves there what it is about to
log. Once MLflow did not answer, after all retries, the run is offline: its tasks go on without MLflow, and `litemill
sync` logs what is here later (see `litemill.track.sync`). Where there is no such folder, as on Kubeflow, a task fails
instead, and is tried again by the cluster.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from litemill.artifacts.files import read_manifest, write_manifest, write_text
from litemill.artifacts.layout import DIAGNOSIS, VARIANTS
from litemill.config.run import Promote
from litemill.select import Candidate
from litemill.select.evidence_folders import lay_out
from litemill.track.store import StoreError

SPOOL = "LITEMILL_SPOOL"
OFFLINE = "offline"
Result = TypeVar("Result")
Part = TypeVar("Part", bound="Kept")


class Kept(BaseModel):
    """Base of what is kept, each kind in a file of its own."""

    model_config = ConfigDict(extra="ignore")


class Start(Kept):
    """How the parent run began."""

    name: str
    params: dict[str, Any]
    pipeline_run_id: str
    tags: dict[str, str] = Field(default_factory=dict)
    run_id: str = Field("", description="of the parent run, where MLflow had made it")


class Tags(Kept):
    """Tags that the parent run should have got."""

    tags: dict[str, str]


class Register(Kept):
    """That the winner should have been registered."""

    registered_model: str
    promote: Promote = "gate"


class Release(Kept):
    """That the winner should have been released once it is registered."""

    uri: str
    options: dict[str, Any] = Field(default_factory=dict)


class Finish(Kept):
    """How the run ended."""

    state: str
    error: str = ""
    at: int = Field(description="milliseconds since 1970")


Name = Literal["start", "tags", "register", "release", "finish"]


class Spool:
    """The folder of a run.

    Args:
        folder: Made when something is first kept in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def offline(self) -> str:
        """Why the run goes on without MLflow; empty as long as it need not."""
        try:
            return (self.folder / OFFLINE).read_text(encoding="utf-8").strip() or "MLflow did not answer"
        except FileNotFoundError:
            return ""

    def go_offline(self, reason: str) -> None:
        """Note that MLflow cannot be used; the first reason stays."""
        if not self.offline:
            write_text(self.folder / OFFLINE, f"{' '.join(reason.split())}\n")

    def keep(self, name: Name, part: Kept) -> None:
        """Keep a part of what is to be logged."""
        write_manifest(self.folder / f"{name}.json", part)

    def kept(self, name: Name, kind: type[Part]) -> Part | None:
        """A part that was kept; None where there is none."""
        path = self.folder / f"{name}.json"
        return read_manifest(path, kind) if path.is_file() else None

    def keep_tags(self, tags: dict[str, str]) -> None:
        """Keep tags of the parent run beside those that are kept already."""
        before = self.kept("tags", Tags)
        self.keep("tags", Tags(tags={**(before.tags if before else {}), **tags}))

    def keep_variants(self, candidates: Sequence[Candidate]) -> None:
        """Keep variants with all their evidence, without a second copy of their files where the disk allows it."""
        for candidate in candidates:
            place = self.folder / VARIANTS / candidate.recipe
            if place.exists():
                shutil.rmtree(place)
            lay_out(candidate, place, samples=True, copy=link)

    def keep_diagnosis(self, diagnosis: Path) -> None:
        """Keep what the doctor found."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(diagnosis, self.folder / DIAGNOSIS)


def link(source: Path, target: Path) -> None:
    """A second name of a file that never changes; a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def here() -> Spool | None:
    """The folder of this task's run; None where its runner keeps none."""
    folder = os.environ.get(SPOOL, "").strip()
    return Spool(Path(folder)) if folder else None


def tracked(doing: Callable[[], Result], otherwise: Result) -> Result:
    """Do what touches MLflow; where MLflow cannot be used and the run keeps its evidence on disk, go on without.

    Args:
        doing: What to do.
        otherwise: The result where it cannot be done now.

    Raises:
        StoreError: MLflow cannot be used, and nothing is kept on disk.
    """
    spool = here()
    if spool and spool.offline:
        return otherwise
    try:
        return doing()
    except StoreError as error:
        if spool is None:
            raise
        spool.go_offline(str(error))
        return otherwise
