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

from litemill.artifacts.inputs import joined, row_dtype
from litemill.artifacts.storage import fetch
from litemill.config.data_kinds import TFRecordFeature, TFRecordOptions
from litemill.config.run import DataSpec, Preprocessing
from litemill.data.images import decode, image_shape, settle
from litemill.data.labels import targets_for, unknown
from litemill.data.source import Index, Samples, Source, SourceSplit, rows_per_block
from litemill.errors import InputError
from litemill.protobuf import messages
from litemill.tasks import TASKS

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
    folder, options = fetch(spec.uri), TFRecordOptions.model_validate(spec.options)
    if not folder.is_dir():
        raise InputError("is no folder of TFRecord files", where=spec.uri)
    splits: dict[str, SourceSplit] = {}
    decoders: dict[str, Decoder] = {}
    for name, needed in SPLITS.items():
        files = sorted(path for path in folder.glob(f"{name}*") if ".tfrecord" in path.name)
        if not files:
            if needed:
                raise InputError(f"has no {name}*.tfrecord file", where=spec.uri)
            continue
        records, stored = _scan(files, options, with_labels=name != "calibration" and not TASKS[spec.task].optional)
        if not records:
            raise InputError("has no records", where=str(files[0]))
        decoders = decoders or _decoders(spec, options, records[0])
        splits[name] = _split(spec, name, records, stored, decoders)
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


@dataclass(frozen=True)
class Decoder:
    """How the samples of one input are read out of a record.

    Attributes:
        feature: Where they are.
        image: Colour mode and size, of an encoded image.
        may_resize: Whether the config names the size that images are brought to.
    """

    feature: TFRecordFeature
    image: Preprocessing | None
    may_resize: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return image_shape(self.image) if self.image else tuple(self.feature.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a raw sample."""
        if self.image:
            return np.dtype(np.uint8)
        return np.dtype(self.feature.dtype if self.feature.encoding == "raw" else np.float32)

    def read(self, features: Any, where: str) -> Samples:
        """The sample in a record's features.

        Raises:
            InputError: No such feature, or it holds something else.
        """
        name = self.feature.x
        if self.image:
            return decode(_bytes(features, name, where), self.image, where, may_resize=self.may_resize)
        if self.feature.encoding == "raw":
            values: Samples = np.frombuffer(_bytes(features, name, where), self.dtype)
        else:
            values = np.asarray(_numbers(features, name, where), self.dtype)
        if values.size != int(np.prod(self.shape)):
            raise InputError(f"feature {name!r} has {values.size} values, not shape {list(self.shape)}", where=where)
        return values.reshape(self.shape)


def _decoders(spec: DataSpec, options: TFRecordOptions, first: Record) -> dict[str, Decoder]:
    """A decoder for each input, images settled by the first record."""
    found = {}
    for name, feature in options.features(spec.inputs).items():
        own = spec.inputs[name] if name else spec.preprocessing
        image = None
        if feature.encoding == "image":
            image = settle(_bytes(first.example(), feature.x, str(first.path)), own, str(first.path))
        found[name] = Decoder(feature, image, bool(own.resize))
    return found


def _split(
    spec: DataSpec, name: str, records: list[Record], stored: Samples | None, decoders: dict[str, Decoder]
) -> SourceSplit:
    where = f"{spec.uri}[{name}]"
    if name == "calibration":
        targets = unknown(spec.task, len(records))
    else:
        targets = targets_for(spec.task, stored, len(records), where)
    shape, dtype = decoders[""].shape if "" in decoders else (), _dtype(decoders)

    def sample(record: Record) -> dict[str, Samples]:
        features, place = record.example(), f"{record.path} at byte {record.offset}"
        return {name: decoder.read(features, place) for name, decoder in decoders.items()}

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(shape, dtype)
        for start in range(0, len(index), rows):
            samples = [sample(records[row]) for row in index[start : start + rows].tolist()]
            yield joined({name: np.stack([one[name] for one in samples]) for name in decoders})

    return SourceSplit(name, where, shape, dtype, targets, read)


def _dtype(decoders: dict[str, Decoder]) -> np.dtype[Any]:
    if "" in decoders:
        return decoders[""].dtype
    return row_dtype({name: (decoder.dtype, decoder.shape) for name, decoder in decoders.items()})


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
