"""Data kind `tfrecord`: files of tf.train.Example records, read without TensorFlow.

A record is its length (uint64), the length's masked CRC-32C, the bytes, and their masked CRC-32C.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from litemill.data.images import decode, image_shape, settle
from litemill.data.labels import targets_for, unknown
from litemill.data.source import Index, Samples, Source, SourceSplit, rows_per_block
from litemill.errors import InputError
from litemill.kinds import TFRecordOptions
from litemill.spec import DataSpec, Preprocessing
from litemill.storage import fetch
from litemill.wire import messages

SPLITS = {"train": True, "test": True, "calibration": False}
"""Splits by file name prefix, and whether they must be there."""
HEADER, FOOTER = 12, 4

DEFINITION = {
    "Example": {"features": (1, "Features")},
    "Features": {"feature": (1, "map Feature")},
    "Feature": {"bytes_list": (1, "BytesList"), "float_list": (2, "FloatList"), "int64_list": (3, "Int64List")},
    "BytesList": {"value": (1, "repeated bytes")},
    "FloatList": {"value": (1, "repeated float")},
    "Int64List": {"value": (1, "repeated int64")},
}


@dataclass(frozen=True)
class Record:
    """Where a record's bytes are."""

    path: Path
    offset: int
    size: int

    def example(self) -> Any:
        """Read and parse it: a mapping of feature names to features."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return parse_example(stream.read(self.size), f"{self.path} at byte {self.offset}")


def open_tfrecord(spec: DataSpec, seed: int) -> Source:
    """Open a folder of TFRecord files.

    Raises:
        InputError: No such files, a damaged record, or a record without the features that the options name.
    """
    folder, options = fetch(spec.uri), spec.parsed()
    if not isinstance(options, TFRecordOptions) or not folder.is_dir():
        raise InputError("is no folder of TFRecord files", where=spec.uri)
    splits: dict[str, SourceSplit] = {}
    settled = None
    for name, needed in SPLITS.items():
        files = sorted(path for path in folder.glob(f"{name}*") if ".tfrecord" in path.name)
        if not files:
            if needed:
                raise InputError(f"has no {name}*.tfrecord file", where=spec.uri)
            continue
        records, stored = _scan(files, options, with_labels=name != "calibration" and spec.task != "reconstruction")
        if not records:
            raise InputError("has no records", where=str(files[0]))
        if settled is None and options.encoding == "image":
            first = _bytes(records[0].example(), options.x, str(files[0]))
            settled = settle(first, spec.preprocessing, str(files[0]))
        splits[name] = _split(spec, options, name, records, stored, settled)
    return Source(splits)


def records_of(path: Path) -> Iterator[Record]:
    """Where the records of a file are; each checked against its checksums.

    Raises:
        InputError: The file is compressed, truncated or damaged.
    """
    from google_crc32c import value as crc32c

    def masked(content: bytes) -> int:
        crc = int(crc32c(content))
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    size, position = path.stat().st_size, 0
    with path.open("rb") as stream:
        while header := stream.read(HEADER):
            if len(header) < HEADER:
                raise InputError("is truncated", where=str(path))
            length, length_crc = struct.unpack("<QI", header)
            if masked(header[:8]) != length_crc:
                fix = "Give uncompressed TFRecord files" if position == 0 else ""
                raise InputError(f"is no TFRecord file, or damaged at byte {position}", where=str(path), fix=fix)
            if position + HEADER + length + FOOTER > size:
                raise InputError("is truncated", where=str(path))
            content, footer = stream.read(length), stream.read(FOOTER)
            if masked(content) != struct.unpack("<I", footer)[0]:
                raise InputError(f"is damaged at byte {position}", where=str(path))
            yield Record(path, position + HEADER, length)
            position += HEADER + length + FOOTER


@cache
def example_class() -> Any:
    """The message tf.train.Example (tensorflow/core/example/{example,feature}.proto)."""
    return messages("litemill_example", DEFINITION)["Example"]


def parse_example(content: bytes, where: str) -> Any:
    """Parse the bytes of a tf.train.Example into its mapping of features.

    Raises:
        InputError: They are no Example.
    """
    from google.protobuf.message import DecodeError

    try:
        return example_class().FromString(content).features.feature
    except DecodeError:
        raise InputError("holds a record that is no tf.train.Example", where=where) from None


def _scan(files: list[Path], options: TFRecordOptions, *, with_labels: bool) -> tuple[list[Record], Samples | None]:
    """Find all records and read their labels."""
    records, labels = [], []
    for path in files:
        for record in records_of(path):
            records.append(record)
            if with_labels:
                labels.append(_numbers(record.example(), options.y, str(path)))
    if not with_labels or not labels:
        return records, None
    if len({len(label) for label in labels}) > 1:
        raise InputError(f"feature {options.y!r} has another length in some records", where=str(files[0]))
    return records, np.asarray(labels)


def _split(
    spec: DataSpec,
    options: TFRecordOptions,
    name: str,
    records: list[Record],
    stored: Samples | None,
    settled: Preprocessing | None,
) -> SourceSplit:
    where = f"{spec.uri}[{name}]"
    if name == "calibration":
        targets = unknown(spec.task, len(records))
    else:
        targets = targets_for(spec.task, stored, len(records), where)
    if settled:
        shape: tuple[int, ...] = image_shape(settled)
        dtype: np.dtype[Any] = np.dtype(np.uint8)
    else:
        shape, dtype = tuple(options.shape), np.dtype(options.dtype if options.encoding == "raw" else np.float32)

    def sample(record: Record) -> Samples:
        features, place = record.example(), f"{record.path} at byte {record.offset}"
        if settled:
            may_resize = bool(spec.preprocessing.resize)
            return decode(_bytes(features, options.x, place), settled, place, may_resize=may_resize)
        if options.encoding == "raw":
            values: Samples = np.frombuffer(_bytes(features, options.x, place), dtype)
        else:
            values = np.asarray(_numbers(features, options.x, place), dtype)
        if values.size != int(np.prod(shape)):
            raise InputError(f"feature {options.x!r} has {values.size} values, not shape {list(shape)}", where=place)
        return values.reshape(shape)

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(shape, dtype)
        for start in range(0, len(index), rows):
            yield np.stack([sample(records[row]) for row in index[start : start + rows].tolist()])

    return SourceSplit(name, where, shape, dtype, targets, read)


def _numbers(features: Any, name: str, where: str) -> list[float]:
    feature = _feature(features, name, where)
    values = list(feature.int64_list.value) or list(feature.float_list.value)
    if not values:
        raise InputError(f"feature {name!r} holds no numbers", where=where)
    return values


def _bytes(features: Any, name: str, where: str) -> bytes:
    values = _feature(features, name, where).bytes_list.value
    if len(values) != 1:
        raise InputError(f"feature {name!r} holds {len(values)} byte strings, one is needed", where=where)
    return bytes(values[0])


def _feature(features: Any, name: str, where: str) -> Any:
    if name not in features:
        raise InputError(f"has no feature {name!r}; known: {', '.join(sorted(features))}", where=where)
    return features[name]
