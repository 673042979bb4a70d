"""The process that runs variants: `python -m litemill.evaluate.worker FOLDER` (see litemill.process.isolation).

A job is an `EvaluateJob` as plain data; its folder `out` gets `evaluation.json`, `samples.npz` and `probe.npz`.
"""

from __future__ import annotations

import logging

import numpy as np

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import EVALUATION, PROBE, SAMPLES
from litemill.data.splits import Splits
from litemill.evaluate.jobs import EvaluateJob
from litemill.evaluate.probe import probe
from litemill.evaluate.score import score
from litemill.evidence.interface import Interface
from litemill.evidence.outcome import Evaluation
from litemill.process.isolation import Job, serve
from litemill.runtime.runner import Runner
from litemill.tasks import METRICS, metric_of, task_of


def evaluate(data: Job) -> None:
    """Evaluate one variant, an `EvaluateJob` as plain data; what needs the baseline is added by the parent."""
    job = EvaluateJob.model_validate(data)
    splits = Splits.open(job.dataset)
    test, about = splits.test, splits.manifest
    variant, out = job.variant, job.out
    runner = Runner(variant, kernels=job.kernels, output=job.output)
    output_bytes = 4 * int(np.prod(runner.output["shape"][1:]))
    found, value, by_class = score(runner.run, test, about, job.output_is, output_bytes)
    labels = {"label": np.asarray(test.y, np.int64)} if task_of(about.task).strata else {}
    kept = {"outcome": found.outcome, "prediction": found.prediction, "target": found.target}
    np.savez_compressed(out / SAMPLES, allow_pickle=False, **kept, **labels)
    asked = probe(runner.run, test)
    np.savez_compressed(out / PROBE, x=asked.x, y=asked.y, outputs=asked.outputs)
    evaluation = Evaluation(
        recipe=job.name,
        sha256=sha256_of(variant),
        kernels=job.kernels,
        samples=len(test),
        metric=about.metric,
        higher_is_better=metric_of(about.metric).higher_is_better,
        value=value,
        per_class=by_class.values,
        per_class_metric=by_class.name,
        confusion=by_class.confusion,
        versions=METRICS.brought_by(about.metric).versions() if about.metric in METRICS else {},
        interface=Interface(
            task=about.task,
            input_shape=about.input_shape,
            inputs=about.inputs,
            preprocessing=about.preprocessing,
            labels=about.class_names,
            classes=about.classes,
            output=job.output,
            output_is=about.output_is or job.output_is,
        ),
    )
    write_manifest(out / EVALUATION, evaluation)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(evaluate)
