"""The process that runs variants: `python -m litemill.evaluate.worker FOLDER` (see litemill.process.isolation).

A job holds `name`, `variant` (a `.tflite`), `output` (name of the one that is judged), `output_is` (logits,
probabilities, or empty where that is not known), `dataset` (a Dataset artifact), `kernels` and `out`, the folder that
gets `evaluation.json` and `samples.npz`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import EVALUATION, SAMPLES
from litemill.data.splits import Splits
from litemill.evaluate.score import score
from litemill.evidence import Evaluation
from litemill.process.isolation import Job, serve
from litemill.runtime.runner import Runner
from litemill.tasks import METRICS, metric_of


def evaluate(job: Job) -> None:
    """Evaluate one variant; what needs the baseline is added by the parent."""
    splits = Splits.open(Path(job["dataset"]))
    test, data = splits.test, splits.manifest
    variant, out = Path(job["variant"]), Path(job["out"])
    runner = Runner(variant, kernels=job["kernels"], output=job["output"])
    output_bytes = 4 * int(np.prod(runner.output["shape"][1:]))
    found, value, by_class = score(runner.run, test, data, job["output_is"], output_bytes)
    np.savez_compressed(out / SAMPLES, outcome=found.outcome, prediction=found.prediction, target=found.target)
    evaluation = Evaluation(
        recipe=job["name"],
        sha256=sha256_of(variant),
        kernels=job["kernels"],
        samples=len(test),
        metric=data.metric,
        higher_is_better=metric_of(data.metric).higher_is_better,
        value=value,
        per_class=by_class.values,
        per_class_metric=by_class.name,
        confusion=by_class.confusion,
        versions=METRICS.brought_by(data.metric).versions() if data.metric in METRICS else {},
    )
    write_manifest(out / EVALUATION, evaluation)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(evaluate)
