"""Data kind `csv`: rows of numbers from sensors, cut into windows that span neither recordings nor label changes."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.data.labels import targets_for
from litemill.data.source import Index, Samples, Source, SourceSplit, rows_per_block
from litemill.errors import InputError
from litemill.kinds import CsvOptions
from litemill.spec import DataSpec
from litemill.steps import nearest
from litemill.storage import fetch

SPLITS = ("train", "test", "calibration")
FLOAT32 = np.dtype(np.float32)


@dataclass
class Rows:
    """The rows of a split: values in one flat array, and for each row its label and its recording."""

    values: array[float] = field(default_factory=lambda: array("f"))
    labels: list[str] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)


def open_csv(spec: DataSpec, seed: int) -> Source:
    """Open one CSV file with a split column, or a folder with `train.csv` and `test.csv` (and `calibration.csv`).

    Raises:
        InputError: No such file or column, a value that is no number, or a split without a full window.
    """
    path, options = fetch(spec.uri), spec.parsed()
    if not isinstance(options, CsvOptions):
        raise InputError("is no CSV source", where=spec.uri)
    if path.is_dir():
        files = {name: path / f"{name}.csv" for name in SPLITS if (path / f"{name}.csv").is_file()}
        header = _header(next(iter(files.values()), path / "train.csv"))
        columns = _columns(header, options, spec.uri)
        rows = {name: _read(file, name, columns, options)[name] for name, file in files.items()}
    else:
        if not options.split:
            fix = "Name the column that says train or test in data.options.split, or give train.csv and test.csv"
            raise InputError("is one file and says nothing of splits", where=spec.uri, fix=fix)
        columns = _columns(_header(path), options, spec.uri)
        rows = _read(path, "", columns, options)
    for name in ("train", "test"):
        if name not in rows:
            raise InputError(f"has no {name} split", where=spec.uri)
    classes = _class_names(rows, spec)
    return Source({name: _split(spec, options, name, rows[name], len(columns), classes) for name in rows}, classes)


def _header(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is no readable CSV file ({error})", where=str(path)) from None


def _columns(header: list[str], options: CsvOptions, uri: str) -> list[str]:
    """The feature columns, once all columns that the options name were found."""
    named = [options.label, *options.features, *filter(None, (options.recording, options.split))]
    for name in named:
        if name not in header:
            raise InputError(f"has no column {name!r}; {nearest(name, header)}", where=uri)
    others = {options.label, options.recording, options.split}
    return options.features or [name for name in header if name not in others]


def _read(path: Path, split: str, columns: list[str], options: CsvOptions) -> dict[str, Rows]:
    """Read a file's rows by split; `split` is empty where a column says it."""
    rows: dict[str, Rows] = {split: Rows()} if split else {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for number, record in enumerate(csv.DictReader(stream), start=2):
            name = split or str(record[options.split]).strip()
            if name not in SPLITS:
                fix = "Use train, calibration and test"
                raise InputError(f"column {options.split!r} says {name!r}", where=f"{path}:{number}", fix=fix)
            into = rows.setdefault(name, Rows())
            into.values.extend(_floats(record, columns, f"{path}:{number}"))
            into.labels.append(str(record[options.label]).strip())
            into.recordings.append(str(record[options.recording]) if options.recording else "")
    return rows


def _floats(record: dict[str, Any], columns: list[str], where: str) -> Iterator[float]:
    for name in columns:
        try:
            yield float(record[name])
        except (TypeError, ValueError):
            raise InputError(f"column {name!r} holds {record[name]!r}, no number", where=where) from None


def _class_names(rows: dict[str, Rows], spec: DataSpec) -> list[str]:
    """Sorted names of the classes where labels are words; none where they are numbers."""
    labels = sorted({label for split in rows.values() for label in split.labels})
    if all(_is_number(label) for label in labels):
        return []
    if spec.task == "regression":
        word = next(label for label in labels if not _is_number(label))
        raise InputError(f"has the target {word!r}, no number", where=spec.uri)
    return labels


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _split(
    spec: DataSpec, options: CsvOptions, name: str, rows: Rows, features: int, classes: Sequence[str]
) -> SourceSplit:
    values = np.frombuffer(rows.values, np.float32).reshape(-1, features)
    starts = window_starts(rows, options.window, options.stride or options.window, spec.task == "regression")
    where = f"{spec.uri}[{name}]"
    if not len(starts):
        raise InputError(f"has no window of {options.window} rows with one label in one recording", where=where)
    last = [rows.labels[start + options.window - 1] for start in starts.tolist()]
    index = {label: position for position, label in enumerate(classes)}
    stored = np.asarray([index[label] if classes else float(label) for label in last])
    shape = (features,) if options.window == 1 else (options.window, features)
    targets = targets_for(spec.task, stored, len(starts), where)
    return SourceSplit(name, where, shape, FLOAT32, targets, _reading_windows(values, starts, options.window, shape))


def window_starts(rows: Rows, window: int, stride: int, label_may_change: bool) -> NDArray[np.int64]:
    """First rows of the windows: every `stride` rows, dropping those that span two recordings or two labels.

    Windows of a regression may span labels: the target is that of the last row.
    """
    count = len(rows.labels)
    changes = np.zeros(count, np.int64)
    for row in range(1, count):
        same_label = label_may_change or rows.labels[row] == rows.labels[row - 1]
        changes[row] = not (same_label and rows.recordings[row] == rows.recordings[row - 1])
    stretch = np.cumsum(changes)
    starts: list[int] = []
    for number in range(int(stretch[-1]) + 1 if count else 0):
        first, end = np.searchsorted(stretch, (number, number + 1))
        starts.extend(range(int(first), int(end) - window + 1, stride))
    return np.asarray(starts, np.int64)


def _reading_windows(values: NDArray[np.float32], starts: Index, window: int, shape: tuple[int, ...]) -> Any:
    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(shape, FLOAT32)
        for begin in range(0, len(index), rows):
            first = starts[index[begin : begin + rows]]
            yield values[first[:, np.newaxis] + np.arange(window)].reshape(len(first), *shape)

    return read
