"""The process that runs variants: `python -m litemill.evaluate.worker FOLDER` (see litemill.process.isolation).

A job holds `name`, `variant` (a `.tflite`), `output` (name of the one that is judged), `dataset` (a Dataset artifact),
`kernels` and `out`, the folder that gets `evaluation.json` and `samples.npz`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import EVALUATION, SAMPLES
from litemill.data.splits import Splits
from litemill.evaluate.metrics import higher_is_better, judge, metric_function
from litemill.evidence import Evaluation
from litemill.process.isolation import Job, serve
from litemill.runtime.runner import Runner


def evaluate(job: Job) -> None:
    """Evaluate one variant; what needs the baseline is added by the parent."""
    splits = Splits.open(Path(job["dataset"]))
    test, data = splits.test, splits.manifest
    variant, out = Path(job["variant"]), Path(job["out"])
    outputs = Runner(variant, kernels=job["kernels"], output=job["output"]).run(test.x)
    found = judge(outputs, test.x, test.y, data)
    np.savez_compressed(out / SAMPLES, outcome=found.outcome, prediction=found.prediction, target=found.target)
    evaluation = Evaluation(
        recipe=job["name"],
        sha256=sha256_of(variant),
        kernels=job["kernels"],
        samples=len(test),
        metric=data.metric,
        higher_is_better=higher_is_better(data),
        value=metric_function(data.metric)(found.outcome, found.target),
        per_class=found.per_class,
        confusion=found.confusion,
    )
    write_manifest(out / EVALUATION, evaluation)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(evaluate)
