"""Size of a `.tflite` as it is stored and as it travels."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import zstandard

GZIP_LEVEL = 9
ZSTD_LEVEL = 19


class FileSizes(NamedTuple):
    """Sizes in bytes: of the file, and compressed by gzip -9 and zstd -19."""

    raw: int
    gzip: int
    zstd: int


def measure_sizes(path: Path) -> FileSizes:
    """Measure a file; the compressed sizes are what an over-the-air update carries."""
    data = path.read_bytes()
    return FileSizes(
        raw=len(data),
        gzip=len(gzip.compress(data, compresslevel=GZIP_LEVEL, mtime=0)),
        zstd=len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)),
    )
