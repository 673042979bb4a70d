"""Prepare a data set: draw the splits, preprocess, and write them as memory-mappable arrays, block by block."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from litemill.artifacts.files import staged, write_manifest
from litemill.artifacts.inputs import extremes, finite_rows, row_dtype
from litemill.artifacts.layout import DATASET, SPLITS, X, Y
from litemill.artifacts.storage import digest
from litemill.config.data_kinds import DATA_KINDS
from litemill.config.run import DataSpec
from litemill.data.checks import check_finite, check_source, open_source
from litemill.data.preprocess import FLOAT, FLOATS, Dtypes, model_inputs, stored_dtype
from litemill.data.sampling import balanced, in_proportion
from litemill.data.source import Index, Source, SourceSplit, Targets
from litemill.errors import InputError
from litemill.evidence.sources import DatasetManifest, SplitInfo
from litemill.tasks import TASKS, Task, default_metric

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draw:
    """Which rows of a source's split become a split of the data set."""

    split: str
    index: Index


def prepare_data(
    spec: DataSpec, seed: int, out: Path, source_sha256: str = "", dtypes: Dtypes = FLOATS
) -> DatasetManifest:
    """Write the three splits of a data set as model inputs, preprocessed, and targets as the task keeps them.

    Without a calibration split in the source, one is drawn class-balanced from the train samples; they stay in train
    too: calibration only sees value ranges, and what judges a variant is the test split.

    Args:
        spec: The data section of a run config.
        seed: Of every draw.
        out: Folder to write: `dataset.json` and `train`, `calibration`, `test` with `x.npy` and `y.npy`.
        source_sha256: Digest of the source where it is known already, else taken here.
        dtypes: Types of the model's inputs by name, of the only one under the empty name; float32 where unknown.

    Raises:
        InputError: The source cannot be used (see `check_source`).
    """
    facts = check_source(spec, dtypes)
    source = open_source(spec, seed)
    draws = _draws(source, spec, seed)
    with staged(out) as work:
        stored = {name: stored_dtype(dtypes.get(name, FLOAT)) for name in facts.inputs or ("",)}
        dtype = row_dtype({name: (stored[name], shape) for name, shape in facts.inputs.items()})
        dtype = dtype if facts.inputs else stored[""]
        written = {name: _Writer(work / name, facts.input_shape, dtype, draw.index) for name, draw in draws.items()}
        for split in source.splits.values():
            _stream(split, [written[name] for name, draw in draws.items() if draw.split == split.name], spec, dtypes)
        splits = {}
        for name, draw in draws.items():
            splits[name] = written[name].finish(
                source.splits[draw.split].targets[draw.index], TASKS[spec.task], facts.classes
            )
        manifest = DatasetManifest(
            kind=spec.kind,
            uri=spec.uri,
            source_sha256=source_sha256 or _source_digest(spec, splits),
            input_shape=list(facts.input_shape),
            dtype=FLOAT if facts.inputs else stored[""].name,
            dtypes={name: found.name for name, found in stored.items() if facts.inputs and found.name != FLOAT},
            inputs={name: list(shape) for name, shape in facts.inputs.items()},
            output=spec.output,
            output_is=spec.output_is,
            classes=facts.classes,
            task=spec.task,
            metric=spec.metric or default_metric(spec.task),
            class_names=source.class_names,
            target_shape=list(source.splits["test"].targets.shape[1:]),
            boxes=spec.boxes,
            preprocessing=_recorded(spec),
            seed=seed,
            value_range=(written["calibration"].low, written["calibration"].high),
            splits=splits,
            versions=DATA_KINDS.brought_by(spec.kind).versions(),
            warnings=facts.warnings,
        )
        write_manifest(work / DATASET, manifest)
    for warning in manifest.warnings:
        log.warning("%s: %s", spec.uri or spec.kind, warning)
    return manifest


def _recorded(spec: DataSpec) -> dict[str, Any]:
    """The preprocessing as a deployed app must repeat it; of several inputs by their names."""
    if spec.inputs:
        return {"inputs": {name: own.model_dump() for name, own in spec.inputs.items()}}
    return spec.preprocessing.model_dump()


def _source_digest(spec: DataSpec, splits: dict[str, SplitInfo]) -> str:
    """Digest of the source; of what was written for a set that comes with a library."""
    if spec.uri:
        return digest(spec.uri)
    return hashlib.sha256("".join(info.x_sha256 + info.y_sha256 for info in splits.values()).encode()).hexdigest()


def _draws(source: Source, spec: DataSpec, seed: int) -> dict[str, Draw]:
    """Choose samples; each split has a generator of its own, so that one limit does not change another split."""
    streams = np.random.SeedSequence(seed).spawn(3)
    rng = {name: np.random.default_rng(stream) for name, stream in zip(SPLITS, streams, strict=True)}
    train = in_proportion(source.splits["train"].strata, spec.limit.train, rng["train"])
    test = in_proportion(source.splits["test"].strata, spec.limit.test, rng["test"])
    if "calibration" in source.splits:
        given = source.splits["calibration"].strata
        calibration = Draw("calibration", balanced(given, spec.limit.calibration, rng["calibration"]))
    else:
        kept = source.splits["train"].strata[train]
        calibration = Draw("train", train[balanced(kept, spec.limit.calibration, rng["calibration"])])
    return {"train": Draw("train", train), "calibration": calibration, "test": Draw("test", test)}


def _stream(split: SourceSplit, writers: list[_Writer], spec: DataSpec, dtypes: Dtypes) -> None:
    """One pass over the rows that are wanted feeds every split of the data set that draws from this one."""
    wanted, done = np.unique(np.concatenate([writer.index for writer in writers])), 0
    for block in split.read(wanted):
        rows = wanted[done : done + len(block)]
        x = model_inputs(block, spec, dtypes)
        if not finite_rows(x).all():
            check_finite(block, split.where, rows)
            raise InputError("preprocessing makes values infinite", where="data.preprocessing")
        for writer in writers:
            if (chosen := np.isin(rows, writer.index, assume_unique=True)).any():
                writer.add(x[chosen])
        done += len(block)
    if done != len(wanted):
        raise InputError(f"ends after {done} of {len(wanted)} samples", where=split.where)


@dataclass
class _Writer:
    """Writes the samples at `index` (ascending source rows) to `x.npy`, hashing as it goes."""

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    index: Index
    low: float = np.inf
    high: float = -np.inf
    hashed: Any = field(default_factory=hashlib.sha256)
    stream: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.stream = (self.folder / X).open("w+b")
        descr = npy.dtype_to_descr(self.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (len(self.index), *self.shape)}
        npy.write_array_header_1_0(self.stream, header)
        self.stream.seek(0)
        self.hashed.update(self.stream.read())

    def add(self, x: NDArray[Any]) -> None:
        data = np.ascontiguousarray(x, self.dtype).tobytes()
        self.stream.write(data)
        self.hashed.update(data)
        low, high = extremes(x)
        self.low, self.high = min(self.low, low), max(self.high, high)

    def finish(self, targets: Targets, task: Task, classes: int) -> SplitInfo:
        self.stream.close()
        np.save(self.folder / Y, targets)
        return SplitInfo(
            samples=len(targets),
            x_sha256=self.hashed.hexdigest(),
            y_sha256=hashlib.sha256((self.folder / Y).read_bytes()).hexdigest(),
            class_counts=task.counts(targets, classes),
        )
