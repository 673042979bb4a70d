"""The process that probes: `python -m litemill.doctor.worker FOLDER` (see litemill.process.isolation)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from litemill.artifacts.files import write_manifest
from litemill.doctor.probes import LOADING, PROBES, Patient, ProbeJob, load_patient
from litemill.process.isolation import Job, serve

_patients: dict[Path, Patient] = {}
"""The model of this process, loaded once for all its probes."""


def probe(job: Job) -> None:
    """Try one thing and write what was found; nothing where the model could not be loaded."""
    wanted = ProbeJob.model_validate(job)
    if wanted.name != LOADING and not wanted.loaded.exists():
        return
    if wanted.path not in _patients:
        _patients[wanted.path] = load_patient(wanted)
        wanted.loaded.touch()
    write_manifest(wanted.out, PROBES[wanted.name].examine(_patients[wanted.path]))


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(probe)
