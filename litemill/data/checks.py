"""Check a data set before anything is computed with it: one clear error, or what it holds and what to beware of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from litemill.artifacts.inputs import finite_rows, holds_floats
from litemill.config.run import DataSpec
from litemill.data.preprocess import FLOATS, Dtypes, check_preprocessing, model_inputs, stored_dtype
from litemill.data.sampling import ENOUGH_CALIBRATION_SAMPLES
from litemill.data.source import Index, Samples, Source, SourceFacts
from litemill.errors import InputError
from litemill.plugins import load
from litemill.tasks import TASKS

IMAGES_CHECKED = 256
"""Decoded of each split before a run; the rest is decoded, and checked, by `prepare_data`."""


def open_source(spec: DataSpec, seed: int = 0) -> Source:
    """Open the data set and check all that its headers and labels show.

    Raises:
        InputError: It cannot be read, or its splits do not fit each other or the preprocessing.
    """
    source = _settled(spec, load(spec.record.opens)(spec, seed))
    train, test = source.splits["train"], source.splits["test"]
    for split in source.splits.values():
        if not len(split):
            raise InputError("has no samples", where=split.where)
        for name, shape in split.inputs.items():
            of_input = f" of input {name!r}" if name else ""
            if not shape:
                raise InputError(f"has one number a sample{of_input} and no axis for features", where=split.where)
            if 0 in shape:
                raise InputError(f"has samples{of_input} of shape {list(shape)}, which hold nothing", where=split.where)
            if shape != train.inputs[name]:
                what = f"has samples{of_input} of shape {list(shape)}, {train.where} of {list(train.inputs[name])}"
                raise InputError(what, where=split.where)
    if train.targets.shape[1:] != test.targets.shape[1:]:
        what = f"has targets of shape {list(test.targets.shape[1:])}, {train.where} of {list(train.targets.shape[1:])}"
        raise InputError(what, where=test.where)
    _check_labels(spec, source)
    for name, shape in train.inputs.items():
        check_preprocessing(spec, shape, name)
    return source


def _settled(spec: DataSpec, source: Source) -> Source:
    """The source with targets that mean the same in all splits."""
    splits, task = source.splits, TASKS[spec.task]
    settled = task.settle([split.targets for split in splits.values()], spec.ignore_label, spec.uri or spec.kind)
    found = {name: replace(splits[name], targets=targets) for name, targets in zip(splits, settled, strict=True)}
    return replace(source, splits=found)


def check_source(spec: DataSpec, dtypes: Dtypes = FLOATS) -> SourceFacts:
    """Check a whole data set without keeping it: shapes, labels, every value of a float source, a sample of images.

    Args:
        spec: The data section of a run config.
        dtypes: Types of the model's inputs by name, of the only one under the empty name: what an integer or boolean
            input cannot hold is refused.

    Raises:
        InputError: The first thing that makes it unusable.
    """
    source = open_source(spec)
    takes_integers = any(stored_dtype(dtype).kind != "f" for dtype in dtypes.values())
    for split in source.splits.values():
        index = np.arange(len(split), dtype=np.int64)
        if not holds_floats(split.dtype):
            if not spec.record.images and not takes_integers:
                continue
            index = np.unique(np.linspace(0, len(split) - 1, IMAGES_CHECKED).astype(np.int64))
        row = 0
        for block in split.read(index):
            check_finite(block, split.where, index[row : row + len(block)])
            if takes_integers:
                model_inputs(block, spec, dtypes)
            row += len(block)
    train = source.splits["train"]
    samples = planned_samples(source, spec)
    return SourceFacts(
        kind=spec.kind,
        input_shape=train.shape,
        dtype=str(train.dtype),
        classes=count_classes(source, spec),
        samples=samples,
        warnings=source.warnings + _warnings(source, samples),
        inputs=train.inputs if spec.inputs else {},
        target_shape=tuple(train.targets.shape[1:]),
        boxes=spec.boxes,
    )


def check_finite(block: Samples, where: str, rows: Index) -> None:
    """Refuse NaN and infinity: an Inf in the calibration set crashes the TFLite converter.

    Args:
        block: Samples.
        where: How to point a user at their split.
        rows: Their row numbers there.

    Raises:
        InputError: With the row of the first such sample.
    """
    finite = finite_rows(block)
    if finite.all():
        return
    first = rows[int(np.argmin(finite))]
    raise InputError(f"sample {first} has NaN or infinite values", where=where, fix="Clean the data first")


def count_classes(source: Source, spec: DataSpec) -> int:
    """Number of classes: those the source names, else the largest label plus one; 0 where targets are numbers."""
    return TASKS[spec.task].classes([split.targets for split in source.splits.values()], len(source.class_names))


def planned_samples(source: Source, spec: DataSpec) -> dict[str, int]:
    """How many samples each split will have once the limits are applied."""
    limit = spec.limit
    train = min(len(source.splits["train"]), limit.train or len(source.splits["train"]))
    test = min(len(source.splits["test"]), limit.test or len(source.splits["test"]))
    given = source.splits.get("calibration")
    return {"train": train, "calibration": min(limit.calibration, len(given) if given else train), "test": test}


def _check_labels(spec: DataSpec, source: Source) -> None:
    """Refuse labels on which the metric says nothing."""
    train, test = source.splits["train"].targets, source.splits["test"].targets
    TASKS[spec.task].check(train, test, spec.metric, spec.uri or spec.kind)


def _warnings(source: Source, samples: dict[str, int]) -> list[str]:
    message = []
    if samples["calibration"] < ENOUGH_CALIBRATION_SAMPLES:
        message.append(
            f"the calibration set has {samples['calibration']} samples; with fewer than "
            f"{ENOUGH_CALIBRATION_SAMPLES} quantization ranges are a guess"
        )
    lowest = min(int(split.strata.min()) for split in source.splits.values())
    if not source.class_names and lowest == 1:
        message.append("no sample has label 0: classes are numbered from 0, so subtract 1 where yours begin at 1")
    unseen = np.setdiff1d(source.splits["test"].strata, source.splits["train"].strata)
    if len(unseen):
        message.append(f"classes {unseen.tolist()} are in the test split but not in train")
    return message
