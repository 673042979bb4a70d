"""Check a data set before anything is computed with it: one clear error, or what it holds and what to beware of."""

from __future__ import annotations

import numpy as np

from litemill.data.digits import open_digits
from litemill.data.npz import open_npz
from litemill.data.preprocess import check_preprocessing
from litemill.data.source import Opener, Samples, Source, SourceFacts
from litemill.errors import InputError
from litemill.spec import DataSpec

KINDS: dict[str, Opener] = {"npz": open_npz, "digits": open_digits}
"""How each `data.kind` is opened."""

FEWEST_CALIBRATION_SAMPLES = 32


def open_source(spec: DataSpec) -> Source:
    """Open the data set and check all that its headers and labels show.

    Raises:
        InputError: It cannot be read, or its splits do not fit each other or the preprocessing.
    """
    source = KINDS[spec.kind](spec)
    train, test = source.splits["train"], source.splits["test"]
    for split in source.splits.values():
        if not len(split):
            raise InputError("has no samples", where=split.where)
        if not split.shape:
            raise InputError("has one number a sample and no axis for features", where=split.where)
        if split.shape != train.shape:
            what = f"has samples of shape {list(split.shape)}, {train.where} of {list(train.shape)}"
            raise InputError(what, where=split.where)
    if len(np.unique(np.concatenate([train.labels, test.labels]))) < 2:
        raise InputError("all labels are the same, so accuracy means nothing", where=spec.uri or spec.kind)
    check_preprocessing(spec.preprocessing, train.shape)
    return source


def check_source(spec: DataSpec) -> SourceFacts:
    """Check a whole data set without keeping it: shapes, labels, and every value of a float source.

    Raises:
        InputError: The first thing that makes it unusable.
    """
    source = open_source(spec)
    for split in source.splits.values():
        if split.dtype.kind == "f":
            row = 0
            for block in split.blocks():
                check_finite(block, split.where, row)
                row += len(block)
    train = source.splits["train"]
    samples = planned_samples(source, spec)
    return SourceFacts(
        kind=spec.kind,
        input_shape=train.shape,
        dtype=str(train.dtype),
        classes=count_classes(source),
        samples=samples,
        warnings=_warnings(source, samples),
    )


def check_finite(block: Samples, where: str, first_row: int) -> None:
    """Refuse NaN and infinity: an Inf in the calibration set crashes the TFLite converter.

    Raises:
        InputError: With the index of the first such sample.
    """
    if block.dtype.kind != "f" or np.isfinite(block).all():
        return
    bad = ~np.isfinite(block.reshape(len(block), -1)).all(axis=1)
    first = first_row + int(np.argmax(bad))
    raise InputError(f"sample {first} has NaN or infinite values", where=where, fix="Clean the data first")


def count_classes(source: Source) -> int:
    """Number of classes: the largest label of all splits, plus one."""
    return 1 + max(int(split.labels.max()) for split in source.splits.values())


def planned_samples(source: Source, spec: DataSpec) -> dict[str, int]:
    """How many samples each split will have once the limits are applied."""
    limit = spec.limit
    train = min(len(source.splits["train"]), limit.train or len(source.splits["train"]))
    test = min(len(source.splits["test"]), limit.test or len(source.splits["test"]))
    given = source.splits.get("calibration")
    return {"train": train, "calibration": min(limit.calibration, len(given) if given else train), "test": test}


def _warnings(source: Source, samples: dict[str, int]) -> list[str]:
    told = []
    if samples["calibration"] < FEWEST_CALIBRATION_SAMPLES:
        told.append(
            f"the calibration set has {samples['calibration']} samples; with fewer than "
            f"{FEWEST_CALIBRATION_SAMPLES} quantization ranges are a guess"
        )
    unseen = np.setdiff1d(source.splits["test"].labels, source.splits["train"].labels)
    if len(unseen):
        told.append(f"classes {unseen.tolist()} are in the test split but not in train")
    return told
