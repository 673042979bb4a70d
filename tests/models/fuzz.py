"""Fuzz model files: small sound ones of each format, with bytes and values changed, are read or refused in one line.

`python -m tests.models.fuzz --minutes N` runs until the time is over and prints what it tried.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from litemill.errors import InputError
from litemill.models.peek import peek
from litemill.stages.inspect import inspect_file
from tests.data.fuzz import damaged
from tests.flatbuffer.generated import STEPS, Graph
from tests.models.made_files import as_hdf5, as_saved_model
from tests.models.test_trusted import Config, keras_layer, model

VALUES: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "os",
    "../x",
    [],
    {},
    [[]],
    [None],
    {"class_name": None},
    "x" * 5000,
]
VALUES += [{"class_name": "Dense"}, {"class_name": 5, "config": 3}, {"items": [None, "a"]}, float("nan")]
SLOWEST = 60.0
"""Seconds that one file may take on a busy machine."""


def sources(root: Path) -> dict[str, tuple[Path, list[Path]]]:
    """A small sound model of each format: what is peeked at, and the files of it that are damaged."""
    found: dict[str, tuple[Path, list[Path]]] = {}
    for name, version in (("h5", "2.15.0"), ("h5_keras3", "3.15.1")):
        (root / name).mkdir(parents=True)
        path = as_hdf5(root / name, model(), version)
        with h5py.File(path, "a") as file:
            file.create_dataset("model_weights/dense/kernel", data=np.ones((4, 3)), compression="gzip")
        found[name] = path, [path]
    for name, version in (("keras2", "2.21.0"), ("keras3", "3.15.1")):
        (root / name).mkdir()
        path = root / name / "m.keras"
        write_archive(path, model(), version)
        found[name] = path, [path]
    (root / "saved_model").mkdir()
    folder = as_saved_model(root / "saved_model", model(), keras_layer("Dense", "dense"), ops=("MatMul",))
    found["saved_model"] = folder, [folder / "saved_model.pb", folder / "keras_metadata.pb"]
    (root / "tflite").mkdir()
    graph = Graph(np.random.default_rng(0))
    for step in sorted(STEPS):
        STEPS[step](graph)
    (root / "tflite/m.tflite").write_bytes(graph.finish())
    return found | {"tflite": (root / "tflite/m.tflite", [root / "tflite/m.tflite"])}


def write_archive(path: Path, config: Any, version: str) -> None:
    """A `.keras` archive with weights."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", weights.getvalue())


def odd(config: Config, draw: random.Random) -> Any:
    """A configuration with one to three of its values, at any depth, replaced by odd ones or left out."""
    for _ in range(draw.randint(1, 3)):
        places = list(_places(config))
        if not places:
            break
        holder, key = draw.choice(places)
        if draw.random() < 0.2:
            del holder[key]
        elif draw.random() < 0.05:
            holder[key] = json.loads("[" * 150 + "]" * 150)
        else:
            holder[key] = draw.choice(VALUES)
    return config


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


class Fuzzer:
    """Damages a model of some format, looks into it, and makes the next one."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.sources = sources(folder / "sources")
        self.counts: Counter[str] = Counter()

    def once(self) -> None:
        """One damaged model. What is wrong raises."""
        name = self.draw.choice(sorted(self.sources))
        path, files = self.sources[name]
        kept = {file: file.read_bytes() for file in files}
        writers: dict[str, Callable[[], Any]] = {
            "keras2": lambda: write_archive(path, odd(model(), self.draw), "2.21.0"),
            "keras3": lambda: write_archive(path, odd(model(), self.draw), "3.15.1"),
            "h5": lambda: as_hdf5(path.parent, odd(model(), self.draw), "2.15.0"),
            "saved_model": lambda: as_saved_model(path, odd(model(), self.draw)),
        }
        try:
            if name in writers and self.draw.random() < 0.5:
                writers[name]()
            else:
                file = self.draw.choice(files)
                file.write_bytes(damaged(kept[file], self.draw))
            self._judge(name, path)
        except BaseException:
            shutil.copytree(path.parent, self.folder / f"failing-{sum(self.counts.values())}")
            raise
        finally:
            for file, content in kept.items():
                file.write_bytes(content)

    def _judge(self, name: str, path: Path) -> None:
        started = time.monotonic()
        try:
            facts = peek(path)
            assert facts.output_names is not None and facts.only_graph is not None
            if name == "tflite":
                inspect_file(path)
            self.counts[f"{name} read"] += 1
        except InputError as error:
            assert error.exit_code == 2 and "\n" not in str(error), repr(str(error))
            assert path.parent.name in str(error), f"the file is not named: {error}"
            self.counts[f"{name} refused"] += 1
        assert time.monotonic() - started < SLOWEST, "takes too long"


def main() -> None:
    """Fuzz for some minutes and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="litemill-fuzz-"))
    sys.stdout.write(f"seed {options.seed}, files in {folder}\n")
    fuzzer, end = Fuzzer(folder, options.seed), time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        fuzzer.once()
    sys.stdout.write("\n".join(f"{name}: {count}" for name, count in sorted(fuzzer.counts.items())) + "\n")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
