"""The process that runs variants: `python -m litemill.evaluate.worker FOLDER` (see litemill.isolation).

A job holds `name`, `variant` (a `.tflite`), `dataset` (a Dataset artifact), `classes`, `kernels` and
`out`, the folder that gets `evaluation.json` and `samples.npz`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from litemill.artifacts import sha256_of, write_manifest
from litemill.data.splits import Splits
from litemill.evaluate.metrics import classify
from litemill.evaluate.runner import Runner
from litemill.evidence import Evaluation
from litemill.isolation import Job, serve
from litemill.layout import EVALUATION, SAMPLES


def evaluate(job: Job) -> None:
    """Evaluate one variant; what needs the baseline is added by the parent."""
    test = Splits.open(Path(job["dataset"])).test
    variant, out = Path(job["variant"]), Path(job["out"])
    found = classify(Runner(variant, kernels=job["kernels"]).run(test.x), test.y, job["classes"])
    np.savez_compressed(out / SAMPLES, outcome=found.outcome, prediction=found.prediction)
    evaluation = Evaluation(
        recipe=job["name"],
        sha256=sha256_of(variant),
        kernels=job["kernels"],
        samples=len(test),
        value=found.top1,
        per_class=found.per_class,
        confusion=found.confusion,
    )
    write_manifest(out / EVALUATION, evaluation)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(evaluate)
