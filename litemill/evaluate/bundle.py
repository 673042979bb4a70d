"""Evaluate every variant of a bundle on the test split, and compare it with the baseline sample by sample."""

from __future__ import annotations

import logging
from pathlib import Path

from litemill.artifacts.bundle import read_bundle
from litemill.artifacts.files import read_manifest, staged, write_manifest
from litemill.artifacts.layout import DATASET, EVALUATION, SAMPLES, TFLITE
from litemill.config.data_kinds import Kernels
from litemill.config.run import BASELINE
from litemill.errors import InputError
from litemill.evaluate.jobs import EvaluateJob
from litemill.evaluate.pairs import Samples, paired_drop, read_samples
from litemill.evidence.outcome import Evaluation
from litemill.evidence.sources import DatasetManifest
from litemill.process.isolation import run_isolated
from litemill.tasks import task_of

log = logging.getLogger(__name__)

TIME_LIMIT = 3600.0
"""Seconds that one variant may take."""

SPLIT = "test"


def evaluate_bundle(
    variants: Path,
    dataset: Path,
    out: Path,
    reference: Path | None = None,
    *,
    kernels: Kernels = "xnnpack",
    time_limit: float = TIME_LIMIT,
) -> dict[str, Evaluation]:
    """Evaluate a bundle, all variants in one worker process; one that crashes it becomes a failed entry.

    Args:
        variants: A bundle of variants.
        dataset: A Dataset artifact; its test split is read.
        out: The folder to write: `<recipe>/evaluation.json` and `<recipe>/samples.npz`.
        reference: Evaluation of the baseline bundle on the same split; without it there is no drop and no agreement.
        kernels: Which kernels compute. The baseline's may be others: those of floats differ by rounding only.
        time_limit: Seconds that one variant may take.

    Returns:
        The evaluation of every recipe in the bundle, sorted by name; failed ones are passed on with their reason.

    Raises:
        InputError: Something is no artifact of its kind, or the reference was evaluated on other samples.
    """
    manifests = read_bundle(variants)
    data = read_manifest(dataset / DATASET, DatasetManifest)
    baseline = None if reference is None else _read_reference(reference / BASELINE, data)
    with staged(out) as work:
        jobs = []
        for name, manifest in manifests.items():
            (work / name).mkdir()
            if manifest.status == "ok":
                job = EvaluateJob(
                    name=name,
                    variant=(variants / name / TFLITE).resolve(),
                    dataset=dataset.resolve(),
                    kernels=kernels,
                    output=manifest.output,
                    output_is=manifest.output_is,
                    out=work / name,
                )
                jobs.append(job.model_dump(mode="json"))
        outcomes = run_isolated(worker_module(), jobs, time_limit=time_limit)
        found = {}
        for name, manifest in manifests.items():
            reason = outcomes[name].reason if name in outcomes else manifest.reason
            evaluation = _complete(work / name, name, reason, data, baseline)
            evaluation.passes = outcomes[name].passes if name in outcomes else manifest.passes
            write_manifest(work / name / EVALUATION, evaluation)
            found[name] = evaluation
    return found


def _read_reference(folder: Path, data: DatasetManifest) -> Samples:
    """What the baseline did for each test sample."""
    evaluation = read_manifest(folder / EVALUATION, Evaluation)
    if evaluation.status != "ok":
        raise InputError(f"the baseline's evaluation failed: {evaluation.reason}", where=str(folder))
    if evaluation.data_sha256 != data.splits[SPLIT].x_sha256:
        raise InputError("the baseline was evaluated on other samples", where=str(folder), fix="Evaluate it again")
    return read_samples(folder / SAMPLES)


def worker_module() -> str:
    """Name of the module that evaluates. Imported late, and imported at all so that cache keys know its code."""
    from litemill.evaluate import worker

    return worker.__name__


def _complete(folder: Path, name: str, reason: str, data: DatasetManifest, baseline: Samples | None) -> Evaluation:
    """Read what the worker left and compare it with the baseline; a failed entry where there is a reason."""
    digest = data.splits[SPLIT].x_sha256
    if reason:
        return Evaluation(recipe=name, status="failed", reason=reason, data_sha256=digest)
    evaluation = read_manifest(folder / EVALUATION, Evaluation)
    evaluation.data_sha256 = digest
    if baseline is not None:
        found = read_samples(folder / SAMPLES)
        evaluation.drop = paired_drop(evaluation, baseline, found)
        if len(found.prediction):
            evaluation.agreement = task_of(data.task).agreement(found.prediction, baseline.prediction)
    return evaluation
