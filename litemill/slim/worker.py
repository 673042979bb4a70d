"""The process that rewrites and proves: `python -m litemill.slim.worker FOLDER` (see litemill.process.isolation).

A job is a `SlimJob` as plain data.
"""

from __future__ import annotations

import logging

import numpy as np

from litemill.artifacts.files import write_manifest
from litemill.evidence.variant import SlimReport
from litemill.flatbuffer.graph import is_integer_only
from litemill.flatbuffer.reader import parse_model
from litemill.flatbuffer.sections import measure_sections
from litemill.process.isolation import Job, serve
from litemill.slim.equivalence import IDENTICAL, prove_equal, prove_tflm, prove_vela
from litemill.slim.jobs import SlimJob
from litemill.slim.rewrite import slim

UNPROVED = "no runtime on this host takes the file, so nothing proves that a smaller one computes the same"


def slim_one(data: Job) -> None:
    """Rewrite one file and prove that it computes the same; the smaller file is written last.

    Args:
        data: A `SlimJob` as plain data.

    Raises:
        StepFailed: The proof failed, or the file has parts that must stay untouched.
    """
    job = SlimJob.model_validate(data)
    before, keep = job.path.read_bytes(), frozenset(job.keep)
    after = slim(before, keep)
    report = SlimReport(
        applied=len(after) < len(before),
        reason="" if len(after) < len(before) else "nothing in it is stored twice or never read",
        before_bytes=len(before),
        after_bytes=len(after),
        before=measure_sections(before),
        after=measure_sections(after),
    )
    if report.applied:
        samples = np.load(job.samples, mmap_mode="r", allow_pickle=False) if job.samples else None
        report.checks = prove_equal(before, after, keep, samples)
        report.checks["tflm"] = prove_tflm(before, after, samples)
        # Vela leaves float ops to the CPU, so it says nothing about a model that is not integer only.
        if is_integer_only(parse_model(before, where=job.name)):
            report.checks["vela"] = prove_vela(before, after)
        if any(outcome.startswith(IDENTICAL) for outcome in report.checks.values()):
            job.out.write_bytes(after)
        else:
            report = report.model_copy(update={"applied": False, "reason": UNPROVED, "after_bytes": len(before)})
    write_manifest(job.report, report)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(slim_one)
