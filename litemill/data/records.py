"""TFRecord files: which shards make a split, and where the records are, also in compressed ones.

A record is its length (uint64), the length's masked CRC-32C, the bytes, and their masked CRC-32C.
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from litemill.data.files import files_below
from litemill.errors import InputError

SPLIT_WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "eval"),
    "calibration": ("calibration", "calib"),
}
"""Words of a file's name that say its split; of several the first that files have is taken."""
IS_RECORDS = re.compile(r"\.(tfrecords?|tfrec|records?)(?![a-z0-9])", re.IGNORECASE)
SHARD = re.compile(r"-(?P<number>\d{1,9})-of-(?P<count>\d{1,9})(?!\d)")
HEADER, FOOTER = 12, 4
GZIP = b"\x1f\x8b"
CHUNK = 1 << 20
MOST_UNPACKED, TIMES = 1 << 30, 100
"""A compressed file may unpack to so many bytes, or to so many times its size: images and numbers do not come near."""


@dataclass(frozen=True)
class RecordFile:
    """A file of records. A compressed one is unpacked into a temporary file, where records can be found again.

    Attributes:
        path: What the user calls it.
        stream: Its bytes, uncompressed; read by position, so that nobody moves another's.
    """

    path: Path
    stream: IO[bytes]

    @classmethod
    def open(cls, path: Path) -> RecordFile:
        """Open it.

        Raises:
            InputError: It is compressed and damaged, or unpacks to far more than it should.
        """
        plain = path.open("rb")
        start = plain.read(HEADER)
        if start[:2] == GZIP:
            return cls(path, _unpacked(path, plain, zlib.MAX_WBITS | 16))
        if _is_zlib(start) and not _is_header(start):
            return cls(path, _unpacked(path, plain, zlib.MAX_WBITS))
        return cls(path, plain)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at a position; fewer where the file ends."""
        parts, left = [], size
        while left and (part := os.pread(self.stream.fileno(), min(left, 1 << 30), offset + size - left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    @property
    def size(self) -> int:
        """Bytes, uncompressed."""
        return os.fstat(self.stream.fileno()).st_size


@dataclass(frozen=True)
class Record:
    """Where a record's bytes are."""

    file: RecordFile
    offset: int
    size: int

    @property
    def where(self) -> str:
        """How to point a user at it."""
        return f"{self.file.path} at byte {self.offset}"

    def read(self) -> bytes:
        """Its bytes."""
        return self.file.read(self.offset, self.size)


def split_files(folder: Path, uri: str) -> dict[str, list[Path]]:
    """The files of each split that has some, by what their names say: `x-train.tfrecord-00000-of-00002`.

    Raises:
        InputError: A shard of a split is missing, or there are no files for train or test.
    """
    files = files_below(folder, lambda name: IS_RECORDS.search(name) is not None and not name.endswith(".index"))
    found = {name: _of_split(files, words) for name, words in SPLIT_WORDS.items()}
    for name in ("train", "test"):
        if not found[name]:
            fix = "Files are named after their split: train*.tfrecord, data-test.tfrecord-00000-of-00002, …"
            raise InputError(f"has no {name}*.tfrecord file", where=uri, fix=fix)
    for paths in found.values():
        _check_shards(paths)
    return {name: paths for name, paths in found.items() if paths}


def records_of(path: Path) -> Iterator[Record]:
    """Where the records of a file are; each checked against its checksums.

    Raises:
        InputError: The file is truncated or damaged.
    """
    file = RecordFile.open(path)
    size, position = file.size, 0
    while position < size:
        header = file.read(position, HEADER)
        if len(header) < HEADER:
            raise InputError("is truncated", where=str(path))
        if not _is_header(header):
            raise InputError(f"is no TFRecord file, or damaged at byte {position}", where=str(path))
        (length,) = struct.unpack_from("<Q", header)
        if position + HEADER + length + FOOTER > size:
            raise InputError("is truncated", where=str(path))
        content = file.read(position + HEADER, length + FOOTER)
        if _masked_crc(content[:length]) != struct.unpack("<I", content[length:])[0]:
            raise InputError(f"is damaged at byte {position}", where=str(path))
        yield Record(file, position + HEADER, length)
        position += HEADER + length + FOOTER


def _of_split(files: list[Path], words: tuple[str, ...]) -> list[Path]:
    for word in words:
        found = [path for path in files if word in re.split(r"[^a-z]+", path.name.lower())]
        if found:
            return found
    return []


def _check_shards(paths: list[Path]) -> None:
    """Refuse a split of which a shard is missing: it would be judged on a part of its samples."""
    sets: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if shard := SHARD.search(path.name):
            name, count = str(path.with_name(SHARD.sub("-*", path.name))), int(shard["count"])
            sets.setdefault((name, count), set()).add(int(shard["number"]))
    for (name, count), numbers in sets.items():
        if len(numbers) != count:
            missing = next(number for number in range(count) if number not in numbers)
            raise InputError(f"shard {missing:05d} of {count:05d} is missing", where=name)


def _is_header(header: bytes) -> bool:
    return len(header) == HEADER and _masked_crc(header[:8]) == struct.unpack_from("<I", header, 8)[0]


def _masked_crc(content: bytes) -> int:
    from google_crc32c import value as crc32c

    crc = int(crc32c(content))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _is_zlib(start: bytes) -> bool:
    return len(start) >= 2 and start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0


def _unpacked(path: Path, packed: IO[bytes], bits: int) -> IO[bytes]:
    """The content of a compressed file in an unnamed temporary one."""
    most = max(MOST_UNPACKED, TIMES * path.stat().st_size)
    plain: IO[bytes] = tempfile.TemporaryFile(prefix="litemill-tfrecord-")  # noqa: SIM115 (lives as long as its records)
    packed.seek(0)
    with packed:
        unpack, written, rest, begun = zlib.decompressobj(bits), 0, b"", False
        try:
            while data := rest or packed.read(CHUNK):
                begun = True
                written += plain.write(unpack.decompress(data, CHUNK))
                if written > most:
                    raise InputError(f"unpacks to more than {most:,} bytes", where=str(path))
                rest = unpack.unconsumed_tail
                if unpack.eof:  # another member may follow
                    rest, unpack, begun = unpack.unused_data, zlib.decompressobj(bits), False
            plain.write(unpack.flush())
        except zlib.error as error:
            raise InputError(f"is compressed and damaged ({error})", where=str(path)) from None
    if begun and not unpack.eof:
        raise InputError("is truncated", where=str(path))
    plain.flush()
    return plain
