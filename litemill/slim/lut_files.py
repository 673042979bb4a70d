"""Write files with look-up tables beside `.tflite` files, each only when it is proved to compute the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from litemill.artifacts.files import read_manifest
from litemill.errors import ConfigError, InputError, LitemillError
from litemill.evidence.lut import LutReport
from litemill.flatbuffer.reader import read_model
from litemill.process.isolation import run_isolated
from litemill.slim.jobs import LutJob
from litemill.slim.rewrite import DEFAULT_KEEP, check_keep

TIME_LIMIT = 900.0
"""Seconds that one file may take, its proof included."""
NOT_INSTALLED = "tflite-micro is not installed"


def installed() -> bool:
    """Whether the package is here that writes look-up tables and runs them."""
    return find_spec("tflite_micro") is not None


def lut_files(
    files: Mapping[str, tuple[Path, Path]],
    *,
    keep: Iterable[str] = DEFAULT_KEEP,
    samples: Path | None = None,
    arena_limit: int | None = None,
) -> dict[str, LutReport]:
    """Write a file with look-up tables for each that gets smaller by them.

    Args:
        files: The plain `.tflite` and the file to write, by name.
        keep: What slimming keeps of names, signatures and metadata.
        samples: A `.npy` file of float inputs `[samples, …]` to compare outputs on; random inputs without it.
        arena_limit: Bytes that the arena of a file may have; None lets it grow by what the file shrinks.

    Returns:
        What was done, by name; a file that was not written has its reason.
    """
    if not installed():
        return {
            name: LutReport(applied=False, reason=NOT_INSTALLED, before_bytes=path.stat().st_size)
            for name, (path, _) in files.items()
        }
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        work = Path(folder)
        jobs = [
            LutJob(
                name=name,
                path=path.resolve(),
                keep=sorted(keep),
                samples=samples.resolve() if samples else None,
                arena_limit=arena_limit,
                out=work / f"{index}.tflite",
                report=work / f"{index}.json",
            )
            for index, (name, (path, _)) in enumerate(files.items())
        ]
        outcomes = run_isolated(worker_module(), [job.model_dump(mode="json") for job in jobs], time_limit=TIME_LIMIT)
        reports = {}
        for job, (path, out) in zip(jobs, files.values(), strict=True):
            reason = outcomes[job.name].reason
            if reason:
                reports[job.name] = LutReport(applied=False, reason=reason, before_bytes=path.stat().st_size)
                continue
            reports[job.name] = read_manifest(job.report, LutReport)
            if reports[job.name].applied:
                shutil.copyfile(job.out, out)
        return reports


def worker_module() -> str:
    """Name of the module that makes tables. Imported late, and imported at all so that cache keys know its code."""
    from litemill.slim import lut_worker

    return lut_worker.__name__


def lut_file(
    source: Path,
    out: Path,
    *,
    keep: Iterable[str] = DEFAULT_KEEP,
    samples: Path | None = None,
    arena_limit: int | None = None,
) -> LutReport:
    """Write a copy of a `.tflite` with look-up tables; none where nothing is gained or proved, as the report says.

    Raises:
        InputError: `source` is no `.tflite` or damaged.
        ConfigError: `out` exists already, `keep` names something else, or the limit is no number of bytes.
        LitemillError: tflite-micro is not installed.
    """
    check_keep(keep)
    if arena_limit is not None and arena_limit < 1:
        raise ConfigError(f"an arena of {arena_limit} bytes", fix="Give a number of bytes above 0")
    if out.exists():
        raise ConfigError("exists already", where=str(out), fix="Remove it or name another file")
    if not installed():
        raise LitemillError(NOT_INSTALLED, fix="Install litemill[devices]; there is none for arm64")
    read_model(source)
    if not out.parent.is_dir():
        raise InputError("there is no such folder", where=str(out.parent))
    with tempfile.TemporaryDirectory(prefix=".lut.", dir=out.parent) as folder:
        copy = Path(folder) / "model.tflite"
        report = lut_files({source.name: (source, copy)}, keep=keep, samples=samples, arena_limit=arena_limit)
        if report[source.name].applied:
            copy.replace(out)
    return report[source.name]
