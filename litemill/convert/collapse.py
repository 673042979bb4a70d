"""Does a converted model still say what float32 says? Measured on training samples, right after the conversion.

It is compared with the float model's own outputs, not with labels: a label that float32 gets wrong says nothing of the
conversion, regressions and autoencoders have no accuracy, and a calibration split may have no labels. Training samples
are taken because calibration samples may be what is wrong, and the test split is for the verdict alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.config.schemes import SCHEMES
from litemill.convert.sensitivity import column_sqnr_db, noise_of, sqnr_db
from litemill.errors import StepFailed
from litemill.evidence.base import Estimate
from litemill.evidence.variant import CalibrationReport, LayerSensitivity
from litemill.tasks import TASKS, BoxLayout, Decisions

Outputs = NDArray[np.float32]

SLIGHT, ALMOST_PERFECT = 0.2, 0.8
"""Cohen's kappa below the first is slight agreement, above the second almost perfect (Landis & Koch, 1977)."""
WEAK_DB = 10.0
"""Signal to noise of numeric outputs below which a model is warned of; at 0 dB it tells no more than their mean."""
MOST_QUANTITIES = 16
"""Numbers of an output that each mean something of their own, such as a box and its score; more are positions."""
NORMAL_95 = 1.96


def compare_outputs(
    report: CalibrationReport,
    outputs: Outputs,
    expected: Outputs,
    *,
    decide: Decisions | None,
    by_column: bool = False,
) -> None:
    """Fill in a report with how far two models agree.

    Args:
        report: Gets `checked_samples`, `sqnr_db`, for a task with decisions `agreement` and `kappa`, and for one whose
            columns mean different things the worst of them.
        outputs: `[samples, …]` of the converted model.
        expected: `[samples, …]` of the float model for the same samples.
        decide: What reads the task's decisions out of outputs; None where outputs are numbers.
        by_column: Whether columns mean different things.
    """
    report.checked_samples = len(outputs)
    report.sqnr_db = sqnr_db(expected, outputs)
    report.output_size = int(np.prod(expected.shape[1:]))
    if by_column and expected.ndim > 1 and expected.shape[-1] > 1:
        columns = column_sqnr_db(expected, outputs)
        worst = int(columns.argmin())
        if np.isfinite(columns[worst]):
            report.worst_column, report.worst_column_db = worst, float(columns[worst])
    if decide is None:
        return
    found, wanted = decide(outputs), decide(expected)
    report.agreement = decide.task.agreement(found, wanted)
    report.kappa = kappa(found, wanted) if decide.task.labelled else beyond_nothing(*decide.task.alike(found, wanted))


def by_column(task: str, boxes: BoxLayout | None = None) -> bool:
    """Whether the columns of a task's outputs are different things, each to be checked."""
    return task in TASKS and TASKS[task].columns and not (boxes and boxes.rows_last)


def warn_of_output(report: CalibrationReport, name: str, outputs: Outputs, expected: Outputs, scheme: str) -> None:
    """Warn of an output that is not judged and tells no more than its mean would."""
    worst = noise_of(expected, outputs, by_column=False)
    if worst <= 0 and np.ptp(expected) > 0:
        what = f"output {name!r} of {scheme}, which is not judged, differs from float32's by noise of {worst:.1f} dB"
        report.warnings.append(f"{what}: its mean would do as well")


def check_agreement(report: CalibrationReport, scheme: str, layers: list[LayerSensitivity], *, where: str) -> None:
    """Refuse a model that has collapsed; warn of one that has lost a good part.

    Args:
        report: As `compare_outputs` filled it in; gets a warning where one is due.
        scheme: By which the model was converted.
        layers: Worst first, where that is known.
        where: Names the model in errors.

    Raises:
        StepFailed: With 95 % confidence the agreement is no more than slight, so the file is broken whatever the
            budget; or a numeric output, or one of its columns, tells no more than its mean would.
    """
    message, collapsed, weak = _verdict(report, scheme)
    if not collapsed and (lost := _lost_column(report, scheme)):
        message, collapsed, weak = lost, report.agreement is None and report.output_size <= MOST_QUANTITIES, True
    if not (collapsed or weak):
        return
    fix = f"Try {SCHEMES[scheme].remedy}"
    if layers:
        message += f"; layer {layers[0].name.split(';')[0]!r} loses most ({layers[0].sqnr_db:.1f} dB alone)"
    if report.warnings:
        message, fix = (
            f"{message}; {report.warnings[0]}",
            "Calibrate with samples like those the model was trained on",
        )
    if collapsed:
        raise StepFailed(message, where=where, fix=fix)
    report.warnings.append(f"{message}. {fix}")


def kappa(found: NDArray[np.int64], expected: NDArray[np.int64]) -> Estimate | None:
    """Cohen's kappa, agreement beyond what chance gives, with its 95 % interval (Cohen, 1960, large samples).

    None where the expected predictions are all of one class, because chance then explains everything. Of several
    decisions a sample, `[samples, …]`, the interval is as wide as if there were one: they are not independent.
    """
    classes = np.unique(expected)
    if len(classes) < 2:
        return None
    chance = float(sum(np.mean(found == one) * np.mean(expected == one) for one in classes))
    agreed = float(np.mean(found == expected))
    value = (agreed - chance) / (1 - chance)
    half = NORMAL_95 * math.sqrt(agreed * (1 - agreed) / len(found)) / (1 - chance)
    return Estimate(value=value, ci=(max(value - half, -1.0), min(value + half, 1.0)))


def beyond_nothing(same: NDArray[Any], whole: NDArray[Any]) -> Estimate | None:
    """Agreement of decisions that chance never brings about, such as boxes, with its 95 % interval.

    Args:
        same: `[samples]` how much of each sample's decisions agrees.
        whole: `[samples]` of how much. None where there is nothing to agree on.
    """
    total = float(whole.sum())
    if not total:
        return None
    value = float(same.sum()) / total
    half = NORMAL_95 * float(np.sqrt(np.square(same - value * whole).sum())) / total  # of a ratio of two sums
    return Estimate(value=value, ci=(max(value - half, 0.0), min(value + half, 1.0)))


def _lost_column(report: CalibrationReport, scheme: str) -> str:
    """The column of the outputs that follows float32 no more than its mean would, in words; empty where all follow."""
    if report.worst_column is None or report.worst_column_db is None or report.worst_column_db > 0:
        return ""
    what = f"column {report.worst_column} of the outputs of {scheme} differs from float32's by noise of"
    what += f" {report.worst_column_db:.1f} dB on {report.checked_samples} training samples: its mean would do as well,"
    return f"collapsed: {what} because all columns of one output share a scale; give it an output of its own"


def _verdict(report: CalibrationReport, scheme: str) -> tuple[str, bool, bool]:
    """What was measured in words, whether the model has collapsed, and whether it is weak."""
    samples = f"{report.checked_samples} training samples"
    if report.kappa is not None and report.agreement is not None:
        low, high = report.kappa.ci
        message = f"{scheme} predicts what float32 does on {report.agreement:.1%} of {samples}"
        message += f" (kappa {report.kappa.value:.2f} [{low:.2f}, {high:.2f}])"
        if high < SLIGHT:
            return f"collapsed: {message}, which is near chance", True, False
        return message, False, high < ALMOST_PERFECT
    if report.sqnr_db is None or report.agreement is not None:
        return "", False, False
    message = f"the outputs of {scheme} differ from float32's by noise of {report.sqnr_db:.1f} dB on {samples}"
    if report.sqnr_db <= 0:
        return f"collapsed: {message}: their mean would do as well", True, False
    return message, False, report.sqnr_db < WEAK_DB
