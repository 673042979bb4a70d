"""Examine the samples of a source: leaks between splits, dead samples, imbalance, coverage of the classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from litemill.artifacts.inputs import constant_rows
from litemill.config.run import DataSpec
from litemill.data.sampling import balanced
from litemill.data.source import Source, SourceSplit
from litemill.doctor.findings import Finding
from litemill.tasks import TASKS

MOST_ROWS = 20_000
"""Samples of a split that are looked at, evenly spaced; a diagnosis takes less than a minute."""
IMBALANCE = 10.0
"""Largest class over smallest that is still unremarkable."""


@dataclass(frozen=True)
class Look:
    """What was seen of a split: the digests of its samples, and how many are constant."""

    digests: set[bytes]
    constant: int
    rows: int


def examine_samples(source: Source, spec: DataSpec) -> list[Finding]:
    """Everything about the samples that makes results doubtful."""
    looks = {name: _look(split) for name, split in source.splits.items()}
    found = list(_leaks(looks))
    for name, look in looks.items():
        if look.constant:
            what = f"{look.constant} of {look.rows} {name} samples hold one value only (blank images?)"
            found.append(Finding(level="warning", what=what, fix="Remove them if that is not meant"))
    if TASKS[spec.task].strata and TASKS[spec.task].decide:
        found += _classes(source, spec)
    return found


def _look(split: SourceSplit) -> Look:
    index = np.unique(np.linspace(0, len(split) - 1, min(len(split), MOST_ROWS)).astype(np.int64))
    digests, constant = set(), 0
    for block in split.read(index):
        constant += int(constant_rows(block).sum())
        digests |= {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in block}
    return Look(digests, constant, len(index))


def _leaks(looks: dict[str, Look]) -> Iterator[Finding]:
    """Test samples that are in another split too."""
    for name in ("train", "calibration"):
        if name not in looks:
            continue
        shared = len(looks[name].digests & looks["test"].digests)
        if shared:
            what = f"{shared} test samples are in the {name} split too: accuracy will look better than it is"
            yield Finding(level="warning", what=what, fix=f"Remove them from {name}")
        else:
            yield Finding(level="ok", what=f"no test sample is in the {name} split")


def _classes(source: Source, spec: DataSpec) -> Iterator[Finding]:
    labels = source.splits["train"].strata
    classes = max(int(labels.max()), int(source.splits["test"].strata.max())) + 1
    counts = np.bincount(labels, minlength=classes)
    if counts.min() == 0 or counts.max() / counts.min() > IMBALANCE:
        most, least = counts.argmax(), counts.argmin()
        what = f"classes are uneven: {counts[most]} train samples of class {most}, {counts[least]} of {least}"
        yield Finding(level="warning", what=what, fix="Look at the accuracy of each class, not at the mean alone")
    given = source.splits.get("calibration")
    drawn = given.strata if given else labels
    drawn = drawn[balanced(drawn, spec.limit.calibration, np.random.default_rng(0))]
    if (drawn < 0).all():
        yield Finding(level="ok", what=f"the calibration split has {len(drawn)} samples without labels")
        return
    missing = np.setdiff1d(np.arange(classes), drawn)
    if len(missing):
        what = f"the calibration set has no sample of classes {missing.tolist()}: their activations may be clipped"
        yield Finding(level="warning", what=what, fix="Raise data.limit.calibration or add such samples")
    else:
        yield Finding(level="ok", what=f"the calibration set covers all {classes} classes with {len(drawn)} samples")
