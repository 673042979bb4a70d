"""Data kind `csv`: rows of numbers from sensors, cut into windows that span neither recordings nor label changes.

A file is parsed once. Its values go to an unnamed temporary file as float32, which is smaller than the text; in memory
are only the first row and the label of each window, however long the recordings are.
"""

from __future__ import annotations

import csv
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.storage import fetch
from litemill.config.base import nearest
from litemill.config.data_kinds import CsvOptions
from litemill.config.run import DataSpec
from litemill.data.files import plain_file
from litemill.data.labels import targets_for
from litemill.data.source import BLOCK_BYTES, Index, Samples, Source, SourceSplit, rows_per_block
from litemill.errors import InputError, shown
from litemill.tasks import TASKS

SPLITS = ("train", "test", "calibration")
SEPARATORS = (";", "\t", "|")
"""What other programs put between cells."""
FLOAT32 = np.dtype(np.float32)


class Labels:
    """Labels as numbers: those of a regression as they are, else a code for each distinct text."""

    def __init__(self, *, numbers: bool) -> None:
        self.numbers = numbers
        self.codes: dict[str, int] = {}

    def code(self, text: str, where: str) -> float:
        """The number that stands for a label."""
        if not text:
            raise InputError("has no label", where=where, fix="Remove the row, or give it its label")
        if not self.numbers:
            return self.codes.setdefault(text, len(self.codes))
        if not _is_number(text):
            raise InputError(f"has the target {shown(text)}, no number", where=where)
        return float(text)

    @property
    def names(self) -> list[str]:
        """Sorted names of the classes where labels are words; none where they are numbers."""
        return [] if all(_is_number(label) for label in self.codes) else sorted(self.codes)

    def stored(self, codes: array[float]) -> NDArray[np.float64]:
        """The labels behind codes: numbers, or positions in `names`."""
        found = np.frombuffer(codes, np.float64)
        if self.numbers:
            return found
        names = self.names
        position = {name: at for at, name in enumerate(names)}
        meaning = [position[label] if names else float(label) for label in self.codes]
        return np.asarray(meaning, np.float64)[found.astype(np.int64)]


class Windows:
    """The windows of a split, found row by row: every `stride` rows, none over two recordings or two labels.

    Windows of a regression may span labels: the target is that of the last row.

    Args:
        window: Rows of a window.
        stride: Rows from one to the next.
        label_may_change: Whether a window may span labels.
    """

    def __init__(self, window: int, stride: int, *, label_may_change: bool) -> None:
        self._window, self._stride, self._label_may_change = window, stride, label_may_change
        self._values, self._buffer = tempfile.TemporaryFile(prefix="litemill-csv-"), array("f")  # noqa: SIM115
        self._rows, self._first, self._last = 0, 0, ("", 0.0)
        self.starts, self.labels = array("q"), array("d")

    def add(self, values: Sequence[float], label: float, recording: str) -> None:
        """Take the next row."""
        now = (recording, 0.0 if self._label_may_change else label)
        if now != self._last:
            self._first, self._last = self._rows, now
        start = self._rows - self._window + 1
        if start >= self._first and (start - self._first) % self._stride == 0:
            self.starts.append(start)
            self.labels.append(label)
        self._rows += 1
        self._buffer.extend(values)
        if len(self._buffer) * self._buffer.itemsize >= BLOCK_BYTES:
            self._spill()

    def finish(self) -> tuple[NDArray[np.int64], IO[bytes]]:
        """First row of each window, and the file with all rows."""
        self._spill()
        return np.frombuffer(self.starts, np.int64), self._values

    def _spill(self) -> None:
        self._buffer.tofile(self._values)
        self._values.flush()
        del self._buffer[:]


@dataclass(frozen=True)
class Columns:
    """Where in a row of the file what is needed stands; −1 for a column that there is not."""

    features: list[int]
    label: int
    recording: int
    split: int
    count: int


def open_csv(spec: DataSpec, seed: int) -> Source:
    """Open one CSV file with a split column, or a folder with `train.csv` and `test.csv` (and `calibration.csv`).

    Raises:
        InputError: No such file or column, a value that is no number, or a split without a full window.
    """
    path, options = fetch(spec.uri), CsvOptions.model_validate(spec.options)
    if path.is_dir():
        files = {name: path / f"{name}.csv" for name in SPLITS if (path / f"{name}.csv").is_file()}
        header = _header(next(iter(files.values()), path / "train.csv"))
    elif options.split:
        files, header = {"": path}, _header(path)
    else:
        fix = "Name the column that says train or test in data.options.split, or give train.csv and test.csv"
        raise InputError("is one file and says nothing of splits", where=spec.uri, fix=fix)
    features = _features(header, options, spec.uri)
    found: dict[str, Windows] = {}
    labels = Labels(numbers=np.dtype(TASKS[spec.task].dtype).kind == "f")
    for split, file in files.items():
        _read(file, split, features, options, found, labels)
    for name in ("train", "test"):
        if name not in found:
            raise InputError(f"has no {name} split", where=spec.uri)
    splits = {name: _split(spec, options, name, found[name], len(features), labels) for name in found}
    return Source(splits, labels.names)


def _header(path: Path) -> list[str]:
    """Names of the columns, each once."""
    try:
        with plain_file(path).open(newline="", encoding="utf-8-sig") as stream:
            header = [name.strip() for name in next(csv.reader(stream), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from None
    if len(header) == 1 and (mark := next((mark for mark in SEPARATORS if mark in header[0]), "")):
        fix = "Write it with commas: pandas.read_csv(path, sep=None, engine='python').to_csv(path, index=False)"
        raise InputError(f"its columns are separated by {mark!r} and not by ','", where=f"{path}:1", fix=fix)
    twice = next((name for name, count in Counter(header).items() if name and count > 1), "")
    if twice:
        raise InputError(f"has two columns {shown(twice)}", where=f"{path}:1", fix="Rename or remove one of them")
    return header


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    fix = "Save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
    return InputError(f"is no readable CSV file ({reason})", where=str(path), fix=fix)


def _features(header: list[str], options: CsvOptions, uri: str) -> list[str]:
    """The feature columns, once all columns that the options name were found."""
    named = [options.label, *options.features, *filter(None, (options.recording, options.split))]
    for name in named:
        if name not in header:
            raise InputError(f"has no column {shown(name)}; {nearest(name, header)}", where=uri)
    others = set(filter(None, (options.label, options.recording, options.split)))
    features = options.features or [name for name in header if name not in others]
    if not features:
        raise InputError(f"has no column of values beside {shown(options.label)}", where=uri)
    if "" in features:
        fix = "Name the columns to use in data.options.features, or write the file without a row index"
        raise InputError(f"column {header.index('') + 1} has no name", where=uri, fix=fix)
    if twice := next((name for name in named if named.count(name) > 1), ""):
        raise InputError(f"column {shown(twice)} is named twice in data.options", where=uri)
    return features


def _columns(path: Path, features: list[str], options: CsvOptions) -> Columns:
    """Where the columns stand in this file."""
    header = _header(path)
    missing = next((name for name in (*features, options.label) if name not in header), None)
    if missing is not None:
        raise InputError(f"has no column {missing!r}; {nearest(missing, header)}", where=str(path))
    return Columns(
        [header.index(name) for name in features],
        header.index(options.label),
        header.index(options.recording) if options.recording in header else -1,
        header.index(options.split) if options.split in header else -1,
        len(header),
    )


def _read(
    path: Path, split: str, features: list[str], options: CsvOptions, found: dict[str, Windows], labels: Labels
) -> None:
    """Read a file's rows into the windows of their split; `split` is empty where a column says it."""
    columns, stride = _columns(path, features, options), options.stride or options.window
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream)
            next(rows)
            for row in filter(None, rows):
                where = f"{path}:{rows.line_num}"
                if len(row) <= max(*columns.features, columns.label, columns.recording, columns.split):
                    raise InputError(f"has {len(row)} cells, too few", where=where)
                if len(row) > columns.count:
                    raise InputError(f"has {len(row)} cells, the header {columns.count}", where=where)
                name = split or row[columns.split].strip()
                if name not in SPLITS:
                    fix = "Use train, calibration and test"
                    raise InputError(f"column {options.split!r} says {shown(name)}", where=where, fix=fix)
                if name not in found:
                    found[name] = Windows(options.window, stride, label_may_change=labels.numbers)
                recording = row[columns.recording] if columns.recording >= 0 else ""
                label = labels.code(row[columns.label].strip(), f"{where}, column {options.label!r}")
                found[name].add(_floats(row, columns.features, features, where), label, recording)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from None


def _floats(row: list[str], positions: list[int], names: list[str], where: str) -> list[float]:
    try:
        return [float(row[position]) for position in positions]
    except ValueError:
        bad = next(at for at, position in enumerate(positions) if not _is_number(row[position]))
        raise InputError(f"column {names[bad]!r} holds {shown(row[positions[bad]])}, no number", where=where) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _split(
    spec: DataSpec, options: CsvOptions, name: str, windows: Windows, features: int, labels: Labels
) -> SourceSplit:
    starts, values = windows.finish()
    where = f"{spec.uri}[{name}]"
    if not len(starts):
        raise InputError(f"has no window of {options.window} rows with one label in one recording", where=where)
    shape = (features,) if options.window == 1 else (options.window, features)
    targets = targets_for(spec.task, labels.stored(windows.labels), len(starts), where)
    return SourceSplit(name, where, shape, FLOAT32, targets, _reading_windows(values, starts, options.window, shape))


def _reading_windows(values: IO[bytes], starts: Index, window: int, shape: tuple[int, ...]) -> Any:
    features = shape[-1]

    def rows(first: int, count: int) -> NDArray[np.float32]:
        size = features * FLOAT32.itemsize
        return np.frombuffer(os.pread(values.fileno(), count * size, first * size), np.float32).reshape(-1, features)

    def read(index: Index) -> Iterator[Samples]:
        step = rows_per_block(shape, FLOAT32)
        for begin in range(0, len(index), step):
            first = starts[index[begin : begin + step]]
            base, span = int(first[0]), int(first[-1] - first[0]) + window
            if span <= 2 * step * window:
                block = rows(base, span)[(first - base)[:, np.newaxis] + np.arange(window)]
            else:  # few of many were drawn: what lies between is not read
                block = np.stack([rows(int(one), window) for one in first])
            yield block.reshape(len(first), *shape)

    return read
