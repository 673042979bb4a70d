"""Data kind `tfrecord`: files of tf.train.Example records, read without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from litemill.artifacts.inputs import joined, row_dtype
from litemill.artifacts.storage import fetch
from litemill.config.data_kinds import TFRecordFeature, TFRecordOptions
from litemill.config.run import DataSpec
from litemill.data.images import Decoding, decode_all, settle
from litemill.data.labels import targets_for, unknown
from litemill.data.records import Record, records_of, split_files
from litemill.data.source import Index, Samples, Source, SourceSplit, rows_per_block
from litemill.errors import InputError
from litemill.protobuf import messages
from litemill.tasks import TASKS

DEFINITION = {
    "Example": {"features": (1, "Features")},
    "Features": {"feature": (1, "map Feature")},
    "Feature": {"bytes_list": (1, "BytesList"), "float_list": (2, "FloatList"), "int64_list": (3, "Int64List")},
    "BytesList": {"value": (1, "repeated bytes")},
    "FloatList": {"value": (1, "repeated float")},
    "Int64List": {"value": (1, "repeated int64")},
}


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
    names: list[str] = []
    scanned = {}
    for name, files in split_files(folder, spec.uri).items():
        scanned[name] = scan(files, options, with_labels=name != "calibration" and not TASKS[spec.task].optional)
        if not scanned[name].records:
            raise InputError("has no records", where=str(files[0]))
        names = sorted({*names, *scanned[name].words})
    for name, found in scanned.items():
        decoders = decoders or _decoders(spec, options, found.records[0])
        splits[name] = _split(spec, name, found.records, found.stored(names), decoders)
    return Source(splits, names)


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


def example_of(record: Record) -> Any:
    """Read and parse a record: a mapping of feature names to features."""
    return parse_example(record.read(), record.where)


@dataclass(frozen=True)
class Scanned:
    """The records of a split, and their labels: rows of numbers or words; none where they are not needed."""

    records: list[Record]
    labels: list[list[float] | str]

    @property
    def words(self) -> set[str]:
        """The labels that are words."""
        return {label for label in self.labels if isinstance(label, str)}

    def stored(self, names: list[str]) -> Samples | None:
        """The labels as numbers: words by their position in `names`.

        Raises:
            InputError: Some are words and some are not, or of another length.
        """
        if not self.labels:
            return None
        where = str(self.records[0].file.path)
        if len({-1 if isinstance(label, str) else len(label) for label in self.labels}) > 1:
            raise InputError("has labels of another length or kind in some records", where=where)
        if not isinstance(self.labels[0], str) and names:
            raise InputError(f"has numbers as labels, another split has words such as {names[0]!r}", where=where)
        position = {name: at for at, name in enumerate(names)}
        return np.asarray([position[label] if isinstance(label, str) else label for label in self.labels])


def scan(files: list[Path], options: TFRecordOptions, *, with_labels: bool) -> Scanned:
    """Find all records of files and read their labels."""
    found = Scanned([], [])
    for path in files:
        for record in records_of(path):
            found.records.append(record)
            if with_labels:
                found.labels.append(_label(example_of(record), options.y, record.where))
    return found


def _label(features: Any, name: str, where: str) -> list[float] | str:
    """A label: its numbers, or the text it is."""
    values = _feature(features, name, where).bytes_list.value
    if len(values) != 1:
        return _numbers(features, name, where)
    try:
        text = bytes(values[0]).decode("utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise InputError(f"feature {name!r} holds neither a number nor a text", where=where)
    return text


@dataclass(frozen=True)
class Decoder:
    """How the samples of one input are read out of a record.

    Attributes:
        feature: Where they are.
        image: How it is decoded, where it is an encoded image.
    """

    feature: TFRecordFeature
    image: Decoding | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return self.image.shape if self.image else tuple(self.feature.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a raw sample."""
        if self.image:
            return self.image.dtype
        return np.dtype(self.feature.dtype if self.feature.encoding == "raw" else np.float32)

    def read(self, features: list[Any], places: list[str]) -> Samples:
        """The samples in the features of some records.

        Raises:
            InputError: No such feature, or it holds something else.
        """
        name = self.feature.x
        if self.image:
            encoded = [_bytes(one, name, where) for one, where in zip(features, places, strict=True)]
            return decode_all(encoded, self.image, places)
        return np.stack([self._values(one, where) for one, where in zip(features, places, strict=True)])

    def _values(self, features: Any, where: str) -> Samples:
        name = self.feature.x
        if self.feature.encoding == "raw":
            content = _bytes(features, name, where)
            if len(content) % self.dtype.itemsize:
                raise InputError(f"feature {name!r} has {len(content)} bytes, no whole {self.dtype}", where=where)
            values: Samples = np.frombuffer(content, self.dtype)
        else:
            values = np.asarray(_numbers(features, name, where), self.dtype)
        if values.size != math.prod(self.shape):
            raise InputError(f"feature {name!r} has {values.size} values, not shape {list(self.shape)}", where=where)
        return values.reshape(self.shape)


def _decoders(spec: DataSpec, options: TFRecordOptions, first: Record) -> dict[str, Decoder]:
    """A decoder for each input, images settled by the first record."""
    found = {}
    for name, feature in options.features(spec.inputs).items():
        own = spec.inputs[name] if name else spec.preprocessing
        image = None
        if feature.encoding == "image":
            image = settle(_bytes(example_of(first), feature.x, first.where), own, first.where)
        found[name] = Decoder(feature, image)
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

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block(shape, dtype)
        for start in range(0, len(index), rows):
            part = [records[row] for row in index[start : start + rows].tolist()]
            features, places = [example_of(record) for record in part], [record.where for record in part]
            yield joined({key: decoder.read(features, places) for key, decoder in decoders.items()})

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
