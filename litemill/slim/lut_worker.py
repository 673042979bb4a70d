"""The process that makes look-up tables and proves them: `python -m litemill.slim.lut_worker FOLDER`.

A job is a `LutJob` as plain data (see litemill.process.isolation).
"""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version

import numpy as np

from litemill.artifacts.files import write_manifest
from litemill.errors import StepFailed
from litemill.evidence.lut import LutReport, LutTensor
from litemill.process.isolation import Job, serve
from litemill.slim.equivalence import IDENTICAL, SAMPLES, prove_tflm, tflm_inputs
from litemill.slim.jobs import LutJob
from litemill.slim.lut_choice import NothingGained, choose

PACKAGE = "tflite-micro"
"""What writes the tables and runs them."""


def lut_one(data: Job) -> None:
    """Write one file with look-up tables that computes what the plain one does, or the reason that there is none.

    Args:
        data: A `LutJob` as plain data.

    Raises:
        InputError: The file is no `.tflite` or damaged.
    """
    job = LutJob.model_validate(data)
    before = job.path.read_bytes()
    samples = np.load(job.samples, mmap_mode="r", allow_pickle=False) if job.samples else None
    report = LutReport(applied=False, before_bytes=len(before), arena_limit_bytes=job.arena_limit)

    def sound(after: bytes) -> str:
        try:
            outcome = prove_tflm(before, after, samples, count=SAMPLES)
        except StepFailed as error:
            return error.what
        return "" if outcome.startswith(IDENTICAL) else outcome

    try:
        inputs = tflm_inputs(before, samples)
        found = choose(before, inputs, frozenset(job.keep), job.arena_limit, sound)
    except NothingGained as nothing:
        report.reason, report.left = nothing.what, nothing.left
        write_manifest(job.report, report)
        return
    report.applied = True
    report.sha256 = hashlib.sha256(found.data).hexdigest()
    report.after_bytes = len(found.data)
    report.arena_before_bytes, report.arena_after_bytes = found.plain_arena, found.arena
    report.tensors = [
        LutTensor(
            name=one.name, shape=one.shape, bits=one.bits, values=one.values, axis=one.axis, saved_bytes=one.saved
        )
        for one in found.tables
    ]
    report.left = found.left
    report.versions = {PACKAGE: version(PACKAGE)}
    report.checks = {"tflm": prove_tflm(before, found.data, samples, count=SAMPLES)}
    job.out.write_bytes(found.data)
    write_manifest(job.report, report)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(lut_one)
