"""Look at calibration samples beside the training data, before they set the ranges of a model.

A converter takes whatever it is given: noise, samples that were preprocessed in another way, one sample. What it makes
of them looks like any other file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from litemill.artifacts.inputs import joined, named
from litemill.artifacts.layout import X, Y
from litemill.data.sampling import ENOUGH_CALIBRATION_SAMPLES, FEWEST_CALIBRATION_SAMPLES, balanced
from litemill.errors import StepFailed
from litemill.evidence.variant import CalibrationReport

Samples = NDArray[Any]

REFERENCE_SAMPLES = 512
REFERENCE_BYTES = 64 << 20
"""Training samples that are looked at: at most so many, and so much of them."""

CLIPPED_WRONG, CLIPPED_DOUBTFUL = 0.1, 0.01
"""Power of the training data outside the calibrated range, as a share of its variance: noise of 10 and 20 dB."""
WIDE_WRONG, WIDE_DOUBTFUL = 8.0, 2.0
"""Calibrated range over that of the training data: three of the eight bits lost, one of them."""
DISTANT, CHANCE = 0.5, 1e-3
"""Kolmogorov-Smirnov distance that is reported, and how likely chance alone may reach it."""


def training_samples(train: Path, count: int = REFERENCE_SAMPLES) -> Samples:
    """Draw from a train split: as many of each class where there are classes, evenly spaced otherwise.

    Args:
        train: Folder with `x.npy` and `y.npy`.
        count: How many at most; fewer where samples are large.

    Returns:
        `[samples, …]`.
    """
    x = np.load(train / X, mmap_mode="r", allow_pickle=False)
    y = np.load(train / Y, mmap_mode="r", allow_pickle=False)
    size = max(1, int(np.prod(x.shape[1:])) * x.dtype.itemsize)
    count = min(count, len(x), max(FEWEST_CALIBRATION_SAMPLES, REFERENCE_BYTES // size))
    if y.ndim == 1 and y.dtype.kind == "i":
        index = balanced(np.asarray(y), count, np.random.default_rng(0))
    else:
        index = np.unique(np.linspace(0, len(x) - 1, count).astype(np.int64))
    return np.asarray(x[index])


def has_range(dtype: np.dtype[Any]) -> bool:
    """Whether values of an input are amounts: floats and pixels are; indices and flags calibrate nothing."""
    return dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize == 1)


def in_own_dtypes(samples: Samples, dtypes: Mapping[str, str]) -> Samples:
    """Samples in the dtypes of the model's inputs, where the values are the same in them; else as they are.

    Args:
        samples: `[samples, …]`; of several inputs a structured array.
        dtypes: Of the inputs by name.
    """
    parts, changed = {}, False
    for name, part in named(samples).items():
        wanted = np.dtype(dtypes.get(name, part.dtype))
        if wanted != part.dtype and wanted.kind in "iub" and np.array_equal(part.astype(wanted), part):
            part, changed = part.astype(wanted), True
        parts[name] = part
    return joined(parts) if changed else samples


def check_calibration(
    samples: Samples, input_shape: list[int], *, where: str, dtype: str = "float32", fewest: int | None = None
) -> None:
    """Refuse calibration samples that crash the converter or calibrate nothing.

    Args:
        samples: `[samples, …]`, already preprocessed.
        input_shape: Of the model's input, with the batch dimension.
        where: Names the samples in errors.
        dtype: Of the model's input.
        fewest: How many samples there must be, by default `FEWEST_CALIBRATION_SAMPLES`.

    Raises:
        StepFailed: Too few samples, another shape or dtype than the model's input, NaN or Inf, or the same value
            everywhere.
    """
    least = FEWEST_CALIBRATION_SAMPLES if fewest is None else fewest
    if not len(samples):
        fix = f"Give data.limit.calibration at least {ENOUGH_CALIBRATION_SAMPLES}"
        raise StepFailed("the calibration split is empty", where=where, fix=fix)
    if len(samples) < least:
        fix = f"Raise data.limit.calibration to {ENOUGH_CALIBRATION_SAMPLES} or more: ranges hang on the few there are"
        raise StepFailed(f"{len(samples)} calibration samples, {least} are the least", where=where, fix=fix)
    if list(samples.shape[1:]) != input_shape[1:]:
        shapes = f"{list(samples.shape[1:])}, the model takes {input_shape[1:]}"
        raise StepFailed(f"a calibration sample has shape {shapes}", where=where, fix="Check the data's shape")
    if str(samples.dtype) != dtype:
        fix = "Preprocess as in training: raw bytes have another range than what the model was trained on"
        raise StepFailed(f"calibration samples are {samples.dtype}, the model takes {dtype}", where=where, fix=fix)
    broken = [index for index, sample in enumerate(samples) if not np.isfinite(sample).all()]
    if broken:
        message = f"{len(broken)} of {len(samples)} calibration samples hold NaN or Inf, the first at index {broken[0]}"
        raise StepFailed(message, where=where, fix="Clean the data: Inf crashes the converter, NaN is ignored silently")
    low, high = value_range(samples)
    if low == high and has_range(samples.dtype):
        raise StepFailed(f"every calibration value is {low:g}", where=where, fix="Give real samples")


def compare_inputs(samples: Samples, training: Samples | None, *, where: str) -> CalibrationReport:
    """Compare the calibration samples of every input (see `compare_with_training`).

    Args:
        samples: `[samples, …]`; of several inputs a structured array.
        training: The same of the train split, or None: then only the range is reported.
        where: Names the samples in errors.

    Returns:
        One report; what concerns one of several inputs carries its name.

    Raises:
        StepFailed: See `compare_with_training`.
    """
    report = CalibrationReport(samples=len(samples), value_range=value_range(samples))
    if training is None:
        return report
    others = named(training)
    report.train_range, clipped = value_range(training), []
    for name, part in named(samples).items():
        found = compare_with_training(part, others[name], where=f"{where}[{name}]" if name else where)
        clipped.append(found.clipped or 0.0)
        report.distance |= {f"{name} {kind}".strip(): value for kind, value in found.distance.items()}
        report.warnings += [f"input {name}: {warning}" if name else warning for warning in found.warnings]
    report.clipped = max(clipped)
    return report


def compare_with_training(samples: Samples, training: Samples, *, where: str) -> CalibrationReport:
    """Compare calibration samples with training samples: in their range, and do they look alike?

    A range that would cut into the training data, or leave most of the levels unused, is a mistake in preprocessing and
    refused. Samples of the right range that look like nothing in the training data, as noise does, are warned of: field
    data may differ from training data for good reasons, and what it does to the model is measured afterwards.

    Args:
        samples: `[samples, …]` that calibrate, finite.
        training: `[samples, …]` of the train split.
        where: Names the samples in errors.

    Raises:
        StepFailed: The range is another than the training data's.
    """
    low, high = value_range(samples)
    if not has_range(samples.dtype):
        return CalibrationReport(
            samples=len(samples), value_range=(low, high), train_range=value_range(training), clipped=0.0
        )
    report = CalibrationReport(
        samples=len(samples),
        value_range=(low, high),
        train_range=value_range(training),
        clipped=_clipped(training, min(low, 0.0), max(high, 0.0)),
    )
    _check_range(report, where)
    report.distance, unlike = _distances(samples, training)
    if unlike:
        message = "the calibration samples do not look like the training data"
        report.warnings.append(f"{message}: {', '.join(unlike)} (medians over samples)")
    if len(samples) < ENOUGH_CALIBRATION_SAMPLES:
        few = f"{len(samples)} calibration samples: with fewer than {ENOUGH_CALIBRATION_SAMPLES}"
        report.warnings.append(f"{few} the ranges hang on which were drawn")
    return report


def value_range(samples: Samples) -> tuple[float, float]:
    """Smallest and largest value of all inputs, sample by sample, so that memory stays flat."""
    ends = [(float(sample.min()), float(sample.max())) for part in named(samples).values() for sample in part]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _clipped(training: Samples, low: float, high: float) -> float:
    """Mean square of what lies outside a range, over the variance of the values."""
    values = training.astype(np.float64)
    variance = float(values.var())
    return float(np.mean(np.square(values - values.clip(low, high)))) / variance if variance else 0.0


def _check_range(report: CalibrationReport, where: str) -> None:
    """Refuse or warn of a range that does not fit; the converter widens each to hold zero."""
    (low, high), (train_low, train_high) = report.value_range, report.train_range or report.value_range
    clipped = report.clipped or 0.0
    span = max(train_high, 0.0) - min(train_low, 0.0)
    wider = (max(high, 0.0) - min(low, 0.0)) / span if span else 1.0
    message = f"calibration samples lie in [{low:g}, {high:g}], training samples in [{train_low:g}, {train_high:g}]"
    if clipped > CLIPPED_WRONG or wider > WIDE_WRONG:
        fix = "Preprocess both alike: data.preprocessing is done to every split, also to one given as calibration"
        raise StepFailed(message, where=where, fix=fix)
    if clipped > CLIPPED_DOUBTFUL:
        report.warnings.append(f"{message}: {clipped:.1%} of the training data's power is cut off")
    elif wider > WIDE_DOUBTFUL:
        report.warnings.append(f"{message}: {1 - 1 / wider:.0%} of the input's levels are left unused")


PROPERTIES = ("mean", "standard deviation", "roughness")
"""Roughness: mean difference of neighbours over the standard deviation; 1.1 for white noise, less for shapes."""


def _distances(samples: Samples, training: Samples) -> tuple[dict[str, float], list[str]]:
    """Distance between two sets of samples by each property of a sample, and the properties in which they differ."""
    found, unlike = {}, []
    mine, theirs = (np.array(list(_properties(part))).T for part in (samples, training))
    for name, ours, others in zip(PROPERTIES, mine, theirs, strict=True):
        test = stats.ks_2samp(ours, others)
        found[name] = float(test.statistic)
        if test.statistic >= DISTANT and test.pvalue < CHANCE / len(PROPERTIES):
            unlike.append(f"{name} {np.median(ours):.3g} against {np.median(others):.3g}")
    return found, unlike


def _properties(samples: Samples) -> Iterator[tuple[float, float, float]]:
    for sample in samples:
        values = np.asarray(sample, np.float64)
        axes = range(max(1, values.ndim - 1))
        steps = [np.abs(np.diff(values, axis=axis)).mean() for axis in axes if values.shape[axis] > 1]
        spread = float(values.std())
        yield float(values.mean()), spread, float(np.mean(steps)) / spread if steps and spread else 0.0
