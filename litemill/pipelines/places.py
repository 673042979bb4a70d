"""The folders of a run, tried before it: where results go, and where tasks work."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from litemill.artifacts.files import read_manifest, sha256_of
from litemill.artifacts.layout import (
    DIAGNOSIS,
    EVALUATION,
    REPORT,
    RESULTS,
    SUMMARY,
    TFLITE,
    UNSENT,
    VARIANT,
    VARIANTS,
    measurement_name,
)
from litemill.artifacts.proof import check_bundles
from litemill.errors import ConfigError, InputError, LitemillError
from litemill.process import locks
from litemill.select.results import Results
from litemill.track.spool import link

FILES = "files.json"
"""In a results folder: its files and their digests, so that a later run replaces these and nothing else."""
PROBE_BYTES = 1 << 20
OTHER = "Name another folder"
MANY = 1000
NAMED = 3
"""How many of a folder's foreign files an error names."""
BESIDE = ".litemill-"
"""Prefix of what is written beside a results folder; short, so that the longest name still fits."""


def check_places(out: Path, work: Path) -> None:
    """Refuse folders that a run could not use, before it.

    Raises:
        ConfigError: Says which and why: it cannot be written, is a file or a mount point, or holds what is not ours.
    """
    probe(work, "--work")
    try:
        place, here = out.resolve(), Path.cwd().resolve()
        for name, other in (("the current folder", here), ("the --work folder", work.resolve())):
            if other.is_relative_to(place):
                raise ConfigError(f"holds {name}, and results replace a folder", where=f"--out {out}", fix=OTHER)
        check_out(out)
    except (OSError, RuntimeError) as error:  # too long a name, a folder that may not be read, links in a circle
        reason = getattr(error, "strerror", "") or str(error)
        raise ConfigError(f"cannot be used: {reason.lower()}", where=f"--out {out}", fix=OTHER) from None
    probe(place, "--out", beside=True)


def check_out(out: Path) -> None:
    """Refuse to replace anything but the results of an earlier run.

    Raises:
        ConfigError: `out` is a file or a mount point, or holds a file that no manifest of ours lists.
    """
    where = f"--out {out}"
    if out.is_dir() and os.path.ismount(out):
        raise ConfigError("is a mount point, which cannot be replaced", where=where, fix="Name a folder in it")
    if out.exists() and not out.is_dir():
        raise ConfigError("is a file", where=where, fix=OTHER)
    if foreign := foreign_files(out, most=MANY):
        more = " and more" if len(foreign) > NAMED else ""
        names = ", ".join(foreign[:NAMED]) + more
        raise ConfigError(f"holds what is not of Litemill's results: {names}", where=where, fix=f"{OTHER}, or move it")


def foreign_files(out: Path, most: int | None = None) -> list[str]:
    """What is in a folder, relative to it, that no manifest of ours lists: files, links, and folders without files.

    Args:
        out: The folder; it need not be there.
        most: How many are enough to know.
    """
    if not out.is_dir():
        return []
    ours = _listed(out)
    return sorted(islice((path for path in _entries(out) if path not in ours), most))


def _entries(folder: Path) -> Iterator[str]:
    """Files, links and empty folders below a folder, relative to it."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        if here != folder and not files and not folders:
            yield str(here.relative_to(folder))
        for name in (*files, *links):
            yield str((here / name).relative_to(folder))


def _listed(out: Path) -> set[str]:
    """The files that the manifests of a results folder list."""
    try:
        results = read_manifest(out / RESULTS, Results)
    except InputError:
        return set()
    try:
        return {FILES, *json.loads((out / FILES).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        pass  # written before there was such a list: what results.json speaks of
    ours = {RESULTS, REPORT, SUMMARY, DIAGNOSIS}
    for variant in results.variants:
        measured = [measurement_name(target) for target in variant.measurements]
        ours |= {f"{VARIANTS}/{variant.recipe}/{name}" for name in (TFLITE, VARIANT, EVALUATION, *measured)}
    return ours


def probe(folder: Path, option: str, *, beside: bool = False) -> None:
    """Try what a run will do with a folder: make it, and write a file in it. What was not there is gone again.

    Args:
        folder: The folder.
        option: What the command line calls it.
        beside: Whether files are written beside it, too.

    Raises:
        ConfigError: It cannot be done; says why.
    """
    made = _missing(folder)
    places = (folder, folder.parent) if beside else (folder,)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in places:
            with tempfile.NamedTemporaryFile(dir=place, prefix=BESIDE) as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
    except (FileExistsError, NotADirectoryError):
        raise ConfigError("is a file, or below one", where=f"{option} {folder}", fix=OTHER) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be written: {reason}", where=f"{option} {folder}", fix=OTHER) from None
    finally:
        for place in made:
            _remove_empty(place)


def _missing(folder: Path) -> list[Path]:
    """A folder and those above it that are not there, the innermost first."""
    missing: list[Path] = []
    for place in (folder, *folder.parents):
        try:
            if place.exists():
                break
        except OSError:  # too long a name
            pass
        missing.append(place)
    return missing


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def deliver(results: Path, out: Path, unsent: Path | None = None) -> Results:
    """Bring a results folder to where the user wants it, whole or not at all; every `.tflite` is checked.

    Args:
        results: What `compare` left.
        out: Where to.
        unsent: Folder of what MLflow has not got, which comes along.

    What came into `out` during the run, and is not ours, stays there.

    Raises:
        LitemillError: A file is not what its manifest says, or `out` can no longer be written; names where they are.
    """
    place = out.resolve()
    try:
        with locks.held(f"results in {place}", wait=60):
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=BESIDE, dir=place.parent) as beside:
                new, old = Path(beside) / "new", Path(beside) / "old"
                shutil.copytree(results, new)
                if unsent:
                    shutil.copytree(
                        unsent, new / UNSENT, copy_function=lambda source, target: link(Path(source), Path(target))
                    )
                check_bundles(new)
                files = {path: sha256_of(new / path) for path in sorted(_entries(new))}
                (new / FILES).write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")
                if place.exists():
                    kept = foreign_files(place)
                    place.rename(old)
                    for path in kept:
                        (new / path).parent.mkdir(parents=True, exist_ok=True)
                        (old / path).rename(new / path)
                new.rename(place)
    except OSError as error:
        raise LitemillError(
            f"the results cannot be written: {error.strerror}", where=str(out), fix=f"They are in {results}"
        ) from None
    return read_manifest(place / RESULTS, Results)
