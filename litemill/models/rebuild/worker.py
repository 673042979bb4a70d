"""The process that rebuilds: `python -m litemill.models.rebuild.worker FOLDER` (see litemill.process.isolation)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from litemill.artifacts.files import write_manifest
from litemill.artifacts.inputs import named
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest, RebuildReport
from litemill.models.likeness import computes_otherwise, relative_error
from litemill.models.rebuild.batch_norm import restore
from litemill.models.rebuild.graph import Refused
from litemill.models.rebuild.model import Rebuilt, rebuild
from litemill.models.source import output_names, outputs_of_keras
from litemill.models.store import digest_of, save_model
from litemill.models.tflite import ends_of, outputs_of
from litemill.process.isolation import Job, serve

NAME = "rebuild"
PROVED_SAMPLES = 64
"""Test samples on which every output is compared with the file's."""
SEEN_SAMPLES, BATCH = 1024, 32
"""Training samples that BatchNormalization takes its statistics from, and how many at once."""
TOLERANCE = 1e-4
"""Root mean square of the difference from the file's outputs, in standard deviations of these."""
log = logging.getLogger(__name__)


class RebuildJob(BaseModel):
    """What the process is given.

    Attributes:
        name: Of the job.
        tflite: The float32 file.
        dataset: Dataset artifact, for samples of its test and train splits.
        inputs: Names of the inputs by the data, of several.
        batch_norm: Whether BatchNormalization is put back.
        out: Where the Model artifact goes.
        report: Where what was found goes.
    """

    name: str = NAME
    tflite: Path
    dataset: Path
    inputs: list[str] = []
    batch_norm: bool = True
    out: Path
    report: Path


def take(data: Job) -> None:
    """Rebuild a file's layers, prove them on real samples and write the Model artifact.

    Raises:
        Refused: An op cannot be rebuilt, or the layers compute something else than the file.
    """
    job = RebuildJob.model_validate(data)
    splits = Splits.open(job.dataset)
    x = _spread(splits.test.x, PROVED_SAMPLES)
    expected = [outputs_of(job.tflite, x, (at,)) for at in range(len(ends_of(job.tflite)[1]))]
    made, difference, errors = _made(job, splits, x, expected, batch_norm=job.batch_norm)
    notes = []
    if difference and made.norms:
        notes.append(f"BatchNormalization was not put back: with it the outputs differ by {difference}")
        made, difference, errors = _made(job, splits, x, expected, batch_norm=False)
    if difference:
        raise Refused(f"the rebuilt layers compute something else: they differ from the file by {difference}")
    report = RebuildReport(
        sha256=digest_of(made.model),
        layers=len(made.model.layers),
        error=errors,
        batch_norm=[norm.layer.name for norm in made.norms],
        notes=notes,
    )
    save_model(made.model, ModelManifest(origin=str(job.tflite.name), origin_sha256=""), job.out)
    write_manifest(job.report, report)


def _made(
    job: RebuildJob, splits: Splits, x: Any, expected: list[Any], *, batch_norm: bool
) -> tuple[Rebuilt, str, dict[str, float]]:
    """The model, by how much it computes something else than the file, and each output's largest difference."""
    made = rebuild(job.tflite, job.inputs, batch_norm=batch_norm)
    restore(made.model, made.norms, _batches(splits, made.model))
    found = [outputs_of_keras(made.model, x, (at,)) for at in range(len(expected))]
    pairs = list(zip(expected, found, strict=True))
    difference = next((what for one in pairs if (what := computes_otherwise(*one, tolerance=TOLERANCE))), "")
    names = output_names(made.model)
    errors = {name: float(f"{relative_error(*one):.2g}") for name, one in zip(names, pairs, strict=True)}
    return made, difference, errors


def _batches(splits: Splits, model: Any) -> Iterator[Any]:
    """Samples of the train split as the model takes them."""
    x = _spread(splits.train.x, SEEN_SAMPLES)
    for start in range(0, len(x), BATCH):
        parts = named(x[start : start + BATCH])
        yield parts[""] if set(parts) == {""} else [parts[name] for name in model.input_names]


def _spread(x: Any, count: int) -> Any:
    """Samples from all over a split, for neighbours are often alike."""
    return np.asarray(x[np.linspace(0, len(x) - 1, min(count, len(x))).astype(int)])


def main() -> None:
    """Serve the job."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(take)


if __name__ == "__main__":
    main()
