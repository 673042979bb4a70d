"""How many calibration samples are enough, and which of them spoil it for the others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import MODEL, TFLITE, X
from litemill.config.base import nearest
from litemill.config.deploy import Deploy
from litemill.config.run import BASELINE
from litemill.config.schemes import FLOAT32, SCHEMES
from litemill.config.steps import Step
from litemill.convert import stretch
from litemill.convert.bundle import TIME_LIMIT, convert_bundle
from litemill.convert.calibration import compare_inputs, training_samples
from litemill.convert.contract import check_inputs
from litemill.convert.stretch import Stretch, Stretches
from litemill.data.sampling import FEWEST_CALIBRATION_SAMPLES, balanced_order
from litemill.data.splits import Split, Splits
from litemill.errors import ConfigError, StepFailed
from litemill.evaluate import evaluate_bundle
from litemill.evidence.base import Estimate, Evidence
from litemill.evidence.outcome import Evaluation
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import CalibrationReport
from litemill.process.isolation import run_isolated

COUNTS = (1, 10, 50, 100, 200, 500, 1000, 2000)
"""Calibration samples that are tried, up to what the split has, and all of it."""


class SweepPoint(BaseModel):
    """What came of so many calibration samples."""

    samples: int
    reason: str = Field("", description="why there is no model, where there is none")
    value: float | None = None
    drop: Estimate | None = Field(None, description="loss against float32 on the same test samples")
    agreement: float | None = Field(None, description="fraction of test samples with float32's prediction")
    size_bytes: int = 0


class CalibrationStudy(Evidence):
    """What a calibration split is worth."""

    scheme: str
    metric: str
    test_samples: int
    baseline: float = Field(description="the metric of float32 on the test split")
    report: CalibrationReport
    points: list[SweepPoint] = Field(description="by number of samples; each set holds the smaller ones")
    stretches: list[Stretch] = Field(description="samples that widen a tensor's range, widest first")


def study_calibration(
    model: Path,
    dataset: Path,
    *,
    scheme: str = "int8",
    counts: Sequence[int] | None = (),
    seed: int = 0,
) -> CalibrationStudy:
    """Examine the calibration split of a data set for a model.

    Args:
        model: A Model artifact.
        dataset: A Dataset artifact.
        scheme: A scheme that calibrates.
        counts: Numbers of calibration samples to convert and evaluate with; None for `COUNTS`.
        seed: Seeds the order in which samples are taken, class by class.

    Raises:
        ConfigError: The scheme does not calibrate, or a count is not in the split.
        InputError: `model` or `dataset` is no artifact of that kind.
        StepFailed: The samples cannot calibrate, or the float model cannot be converted or run.
    """
    if not SCHEMES[scheme].calibrated:
        fitting = sorted(one.name for one in SCHEMES.records() if one.calibrated)
        raise ConfigError(f"{scheme!r} does not calibrate; {nearest(scheme, fitting)}")
    splits, source = Splits.open(dataset), read_manifest(model / MODEL, ModelManifest)
    if source.status != "ok" or len(source.inputs) != 1:
        reason = source.reason or f"the model has {len(source.inputs)} inputs, one is supported here"
        raise StepFailed(reason, where=str(model / MODEL))
    where = str(dataset / "calibration" / X)
    check_inputs(
        splits.calibration.x,
        {"": source.inputs[0].shape},
        dtypes={"": source.inputs[0].dtype},
        where=where,
        fewest=FEWEST_CALIBRATION_SAMPLES,
    )
    report = compare_inputs(splits.calibration.x, training_samples(dataset / "train"), where=where)
    wanted = _counts(counts, len(splits.calibration))
    with tempfile.TemporaryDirectory(prefix="litemill-calibrate-") as name:
        folder = Path(name)
        subsets = _subsets(splits.calibration, wanted, seed, folder)
        found, baseline = _sweep(model, dataset, scheme, subsets, folder)
        stretches = _stretches(folder / "base" / BASELINE / TFLITE, where, folder)
    labels = _labels(splits.calibration)
    for one in stretches:
        one.label = int(labels[one.sample]) if labels[one.sample] >= 0 else None
    return CalibrationStudy(
        scheme=scheme,
        metric=splits.manifest.metric,
        test_samples=len(splits.test),
        baseline=baseline.value,
        report=report,
        points=found,
        stretches=stretches,
    )


def _counts(asked: Sequence[int] | None, there: int) -> list[int]:
    """The numbers of samples to try, ascending."""
    if asked is None:
        return [*(count for count in COUNTS if count < there), there]
    wrong = next((count for count in asked if not 1 <= count <= there), None)
    if wrong is not None:
        raise ConfigError(f"{wrong} calibration samples were asked for, the split has {there}")
    return sorted(set(asked))


def _subsets(split: Split, counts: list[int], seed: int, folder: Path) -> dict[str, Path]:
    """A file of calibration samples for each count, by the name of the recipe that takes it."""
    order = balanced_order(_labels(split), np.random.default_rng(seed))
    files = {}
    for count in counts:
        path = folder / f"{count}.npy"
        np.save(path, split.x[np.sort(order[:count])])
        files[str(count)] = path
    return files


def _labels(split: Split) -> NDArray[np.int64]:
    """Classes; −1 for all where there are none, so that a draw by class is one at random."""
    if split.y.ndim == 1 and split.y.dtype.kind == "i":
        return np.asarray(split.y, np.int64)
    return np.full(len(split), -1, np.int64)


def _sweep(
    model: Path, dataset: Path, scheme: str, subsets: dict[str, Path], folder: Path
) -> tuple[list[SweepPoint], Evaluation]:
    """Convert with every subset, all in one process, and evaluate on the test split."""
    recipes = {BASELINE: [Step(name=FLOAT32.name)], **{name: [Step(name=scheme)] for name in subsets}}
    bundle, base = folder / "bundle", folder / "base"
    made = convert_bundle(model, recipes, bundle, dataset=dataset, subsets=subsets, deploy=Deploy(slim=False))
    if made[0].status != "ok":
        raise StepFailed(f"float32: {made[0].reason}", where=str(model))
    base.mkdir()
    (bundle / BASELINE).rename(base / BASELINE)
    baseline = evaluate_bundle(base, dataset, folder / "reference")[BASELINE]
    if baseline.status != "ok":
        raise StepFailed(f"float32: {baseline.reason}", where=str(model))
    found = evaluate_bundle(bundle, dataset, folder / "found", folder / "reference") if subsets else {}
    points = []
    for manifest in made[1:]:
        point = SweepPoint(samples=int(manifest.recipe), size_bytes=manifest.size_bytes)
        evaluation = found[manifest.recipe]
        if evaluation.status == "ok":
            point.value, point.drop, point.agreement = evaluation.value, evaluation.drop, evaluation.agreement
        else:
            point.reason = evaluation.reason
        points.append(point)
    return points, baseline


def _stretches(tflite: Path, samples: str, folder: Path) -> list[Stretch]:
    out = folder / "stretches.json"
    job = stretch.StretchJob(name="stretch", tflite=tflite, samples=Path(samples), out=out)
    reason = run_isolated(stretch.__name__, [job.model_dump(mode="json")], time_limit=TIME_LIMIT)["stretch"].reason
    if reason:
        raise StepFailed(reason, where=str(tflite))
    return read_manifest(out, Stretches).found
