"""Benchmark all variants of one model on one target, beside their float32 baseline."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.bundle import read_bundle
from litemill.artifacts.files import staged, write_manifest
from litemill.artifacts.layout import MEASUREMENT, TFLITE
from litemill.benchmark.locks import device_lock
from litemill.benchmark.parity import SAMPLES
from litemill.benchmark.registry import open_target
from litemill.benchmark.session import Subject, failed
from litemill.benchmark.statistics import ratio_between
from litemill.config.run import BASELINE
from litemill.config.targets import TARGETS, TargetSpec, parse_target
from litemill.data.splits import Splits
from litemill.errors import ConfigError, DeviceError, InputError
from litemill.evidence.base import Estimate
from litemill.evidence.outcome import Measurement
from litemill.tasks import TASKS, decisions

log = logging.getLogger(__name__)


def check_target(written: str | dict[str, Any] | TargetSpec) -> TargetSpec:
    """Read a target and refuse an unknown one before any compute.

    Raises:
        ConfigError: There is no such target (the nearest name is offered), or it does not take such options.
    """
    try:
        return parse_target(written)
    except ValueError as error:
        raise ConfigError(str(error), where="target") from None


def benchmark_bundle(
    target: str | TargetSpec,
    variants: Path,
    baseline: Path,
    dataset: Path,
    out: Path,
    *,
    champion: Path | None = None,
) -> dict[str, Measurement]:
    """Measure every variant of a bundle on a target.

    Args:
        target: The target: a name, a `TargetSpec`, or its `argument()`.
        variants: Bundle: one folder a recipe with `variant.json` and `model.tflite`.
        baseline: Bundle with one folder `baseline`: the float32 conversion that every ratio refers to.
        dataset: Dataset artifact; a few of its test samples are run for parity.
        out: Where to write one folder a recipe with `measurement.json`.
        champion: Bundle with the one variant `champion`, which every variant gets a ratio to; a failed one is left out.

    Returns:
        A measurement by recipe. Recipes that failed before, and those that do not work on the target, have status
        `failed` with the reason; so have all of them when the target cannot be reached.

    Raises:
        ConfigError: The target is unknown.
        InputError: A bundle or the data set cannot be read.
    """
    spec = check_target(target)
    splits = Splits.open(Path(dataset))
    subjects, found = _subjects(Path(variants), splits.manifest.task)
    base_subjects, base_failed = _subjects(Path(baseline), splits.manifest.task)
    if BASELINE not in base_subjects:
        reason = base_failed[BASELINE].reason if BASELINE in base_failed else "it holds no such variant"
        raise InputError(f"no usable {BASELINE}: {reason}", where=str(baseline))
    base = base_subjects[BASELINE]
    rivals = _subjects(champion, splits.manifest.task)[0] if champion else {}
    measured = _measure(spec, base, subjects, rivals, _samples(splits))
    found |= {recipe: _message(measured, subject, base) for recipe, subject in subjects.items()}
    for rival in rivals.values():
        found = {
            recipe: one.model_copy(update={"ratio_to_champion": ratio_between(one, measured[rival.sha256])})
            for recipe, one in found.items()
        }
    same = {"target": spec.name, "versions": TARGETS.brought_by(spec.kind).versions()}
    found = {recipe: found[recipe].model_copy(update={"recipe": recipe, **same}) for recipe in sorted(found)}
    with staged(out) as folder:
        for recipe, measurement in found.items():
            write_manifest(folder / recipe / MEASUREMENT, measurement)
    return found


def _subjects(bundle: Path, task: str) -> tuple[dict[str, Subject], dict[str, Measurement]]:
    """What can be measured by recipe, and a failed measurement for the rest."""
    subjects, dead = {}, {}
    for recipe, manifest in read_bundle(bundle).items():
        if manifest.status == "failed":
            dead[recipe] = failed(manifest.reason, passes=manifest.passes)
            continue
        file = bundle / recipe / TFLITE
        if not file.is_file():
            raise InputError("is missing", where=str(file))
        try:
            subject = Subject.of(manifest, file)
            # What a target gives of a detector may be a part of what its decisions are read from.
            whole = task in TASKS and TASKS[task].labelled
            decide = decisions(task, manifest.output_is) if whole else None
            subjects[recipe] = replace(subject, decide=decide)
        except ValueError as error:
            dead[recipe] = failed(str(error))
    return subjects, dead


def _measure(
    target: TargetSpec,
    base: Subject,
    subjects: dict[str, Subject],
    rivals: dict[str, Subject],
    samples: NDArray[np.float32],
) -> dict[str, Measurement]:
    """Measurements by sha256: each distinct file once, the baseline first."""
    if not subjects:
        return {rival.sha256: failed("nothing was measured beside it") for rival in rivals.values()}
    distinct = {subject.sha256: subject for subject in (base, *rivals.values(), *subjects.values())}
    try:
        with device_lock(target.device, target.patience):
            return open_target(target).measure(list(distinct.values()), samples)
    except DeviceError as error:
        log.warning("%s: %s", target.name, error)
        return {key: failed(str(error), passes=True) for key in distinct}


def _message(measured: dict[str, Measurement], subject: Subject, base: Subject) -> Measurement:
    """The measurement of a recipe's file; a file equal to the baseline's was not measured twice, and says so."""
    found = measured[subject.sha256]
    if subject.sha256 != base.sha256 or found.status == "failed" or not found.ratio_to_float32:
        return found
    return found.model_copy(
        update={
            "ratio_to_float32": Estimate(value=1.0, ci=(1.0, 1.0)),
            "comparison": "no difference shown",
            "details": found.details | {"identical_to": BASELINE},
        }
    )


def _samples(splits: Splits) -> NDArray[np.float32]:
    """A few real samples, spread evenly over the test split."""
    x = splits.test.x
    rows = np.linspace(0, len(x) - 1, num=min(SAMPLES, len(x)), dtype=np.int64)
    return np.ascontiguousarray(x[np.unique(rows)])
