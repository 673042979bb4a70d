"""Slim files in place, each replaced only when it is proved to compute the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from litemill.artifacts.files import read_manifest
from litemill.errors import ConfigError, InputError
from litemill.evidence.variant import SlimReport
from litemill.flatbuffer.reader import read_model
from litemill.process.isolation import run_isolated
from litemill.slim.jobs import SlimJob
from litemill.slim.rewrite import DEFAULT_KEEP

TIME_LIMIT = 900.0
"""Seconds that one file may take, its proof included."""


def slim_files(
    files: Mapping[str, Path], *, keep: Iterable[str] = DEFAULT_KEEP, samples: Path | None = None
) -> dict[str, SlimReport]:
    """Replace each `.tflite` by a smaller one that computes the same; one without proof stays as it is.

    Args:
        files: Paths by name.
        keep: What to keep of names, signatures and metadata.
        samples: A `.npy` file of float inputs `[samples, …]` to compare outputs on; random inputs without it.

    Returns:
        What was done, by name.
    """
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        work = Path(folder)
        jobs = [
            SlimJob(
                name=name,
                path=path.resolve(),
                keep=sorted(keep),
                samples=samples.resolve() if samples else None,
                out=work / f"{index}.tflite",
                report=work / f"{index}.json",
            )
            for index, (name, path) in enumerate(files.items())
        ]
        outcomes = run_isolated(worker_module(), [job.model_dump(mode="json") for job in jobs], time_limit=TIME_LIMIT)
        reports = {}
        for job, path in zip(jobs, files.values(), strict=True):
            reason, size = outcomes[job.name].reason, path.stat().st_size
            if reason:
                reports[job.name] = SlimReport(applied=False, reason=reason, before_bytes=size, after_bytes=size)
                continue
            reports[job.name] = read_manifest(job.report, SlimReport)
            if reports[job.name].applied:
                _replace(path, job.out)
        return reports


def worker_module() -> str:
    """Name of the module that rewrites. Imported late, and imported at all so that cache keys know its code."""
    from litemill.slim import worker as slim_worker

    return slim_worker.__name__


def slim_file(
    source: Path, out: Path, *, keep: Iterable[str] = DEFAULT_KEEP, samples: Path | None = None
) -> SlimReport:
    """Write a slimmed copy of a `.tflite`; a plain copy where nothing is gained or proved.

    Raises:
        InputError: `source` is no `.tflite` or damaged.
        ConfigError: `out` exists already.
    """
    if out.exists():
        raise ConfigError("exists already", where=str(out), fix="Remove it or name another file")
    read_model(source)
    if not out.parent.is_dir():
        raise InputError("there is no such folder", where=str(out.parent))
    with tempfile.TemporaryDirectory(prefix=".slim.", dir=out.parent) as folder:
        copy = Path(folder) / "model.tflite"
        shutil.copyfile(source, copy)
        report = slim_files({source.name: copy}, keep=keep, samples=samples)[source.name]
        copy.replace(out)
    return report


def _replace(path: Path, smaller: Path) -> None:
    """Put the smaller file in place of the original, whole or not at all; they may be on different file systems."""
    beside = path.with_name(f".{path.name}.slim")
    shutil.copyfile(smaller, beside)
    beside.replace(path)
