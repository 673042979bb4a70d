"""Fuzz data sets: small real ones with bytes, labels and headers changed are read, or refused with one InputError.

`python -m tests.data.fuzz --minutes N` runs until the time is over and prints what it tried.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from litemill.config.run import DataSpec
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError
from tests.data import made_sources

ROWS = "".join(f"{row / 7},{row % 5},{row % 2},{'train' if row < 30 else 'test'}\n" for row in range(40))
WORDS = [b"\x00", b"\xff" * 8, b"-1", b"nan", b"inf", b"1e999", b",", b";", b"\n", b'"', b"PK\x03\x04", b"\x1f\x8b\x08"]
WORDS += [
    b"99999999999999999999",
    b"(" * 200,
    b"'shape': (0, 3)",
    b"<f8",
    b"|O",
    b"\x89PNG\r\n\x1a\n",
    b"IHDR",
    b"GIF89a",
]
SLOWEST = 60.0
"""Seconds that one data set may take on a busy machine."""


def sources(root: Path) -> dict[str, DataSpec]:
    """One small data set of each kind that reads files."""
    root.mkdir()
    made = {name: make(root / name) for name, make in made_sources.SOURCES.items() if name != "python"}
    (root / "csv").mkdir()
    (root / "csv" / "d.csv").write_text("a,b,y,s\n" + ROWS)
    options = {"label": "y", "split": "s"}
    uri = str(root / "csv" / "d.csv")
    return made | {"csv": DataSpec.model_validate({"kind": "csv", "uri": uri, "options": options})}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with up to four places changed, cut, doubled or moved."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4])):
        at = draw.randrange(len(data) + 1) if draw.random() < 0.5 else draw.randrange(min(len(data), 200) + 1)
        change = draw.randrange(5)
        if change == 0:
            data[at : at + draw.randint(1, 8)] = draw.randbytes(draw.randint(1, 8))
        elif change == 1:
            data[at:at] = draw.choice(WORDS)
        elif change == 2:
            del data[at : at + draw.choice([1, 4, 100, len(data)])]
        elif change == 3:
            data[at : at + 16] = data[at : at + 16] * 2
        elif data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
    return bytes(data)


class Fuzzer:
    """Damages a file of a data set, prepares it, and puts the file back."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.specs = sources(folder / "sources")
        self.counts: Counter[str] = Counter()

    def once(self) -> None:
        """One damaged data set. What is wrong raises, with the seed's count in the message."""
        name = self.draw.choice(sorted(self.specs))
        path = Path(self.specs[name].uri)
        files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        file = self.draw.choice(files)
        content = file.read_bytes()
        file.write_bytes(damaged(content, self.draw))
        out = self.folder / "out"
        began = time.monotonic()
        try:
            manifest = prepare_data(self.specs[name], 0, out)
        except InputError as error:
            message = str(error)
            assert len(message.splitlines()) == 1 and len(message) < 2000, message
            self.counts[f"{name} refused"] += 1
        else:
            splits = Splits.open(out)
            assert all(np.isfinite(np.asarray(split.x)).all() for split in (splits.train, splits.test))
            assert manifest.splits["train"].samples == len(splits.train)
            self.counts[f"{name} read"] += 1
        finally:
            file.write_bytes(content)
            shutil.rmtree(out, ignore_errors=True)
        took = time.monotonic() - began
        assert took < SLOWEST, f"{file} took {took:.0f} s"


def fuzz(folder: Path, *, count: int = 0, seconds: float = 0, seed: int = 0) -> Counter[str]:
    """Damage that many data sets, or as many as the time allows."""
    fuzzer, end = Fuzzer(folder, seed), time.monotonic() + seconds
    done = 0
    while done < count or time.monotonic() < end:
        fuzzer.once()
        done += 1
    return fuzzer.counts


def main() -> None:
    """Fuzz for the minutes on the command line and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="litemill-fuzz-") as folder:
        counts = fuzz(Path(folder), seconds=asked.minutes * 60, seed=asked.seed)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))  # noqa: T201


if __name__ == "__main__":
    main()
