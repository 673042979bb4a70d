"""Fuzz loading: real models of each format, damaged, are imported as a run does, or refused in one line.

`python -m tests.models.load_fuzz --minutes N` runs until the time is over and prints what it tried. Each file is loaded
in a process of its own, so that a crash or a hang is seen and costs nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from litemill.errors import InputError
from litemill.models.backend import tf_keras
from litemill.models.fit import check_fit
from litemill.models.sized import sized
from litemill.models.source import load_source
from tests.data.fuzz import damaged
from tests.models.fuzz import odd
from tests.workshop import convert_here, digits_cnn, keras, write_model

SLOWEST = 120
"""Seconds that one file may take on a busy machine."""
SHAPE = (8, 8, 1)


NAMES = {
    "keras2": "keras2.keras",
    "h5": "old.h5",
    "saved_model": "saved",
    "keras3": "new.keras",
    "h5_keras3": "new.h5",
    "graph": "graph",
    "tflite": "m.tflite",
}


def make(root: Path) -> None:
    """A small real model of each format that a run can start from."""
    import keras as keras3

    root.mkdir()
    found = {name: root / file for name, file in NAMES.items()}
    k = keras()
    old = digits_cnn(k)
    for name in ("keras2", "h5", "saved_model"):
        old.save(found[name], **({"save_format": "tf"} if name == "saved_model" else {}))
    layers = keras3.layers
    new = keras3.Sequential(
        [
            keras3.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    for name in ("keras3", "h5_keras3"):
        new.save(found[name])
    new.export(str(found["graph"]), verbose=False)
    model = write_model(root / "artifact", old)
    convert_here(model, "float32", list(SHAPE), found["tflite"])


def change(path: Path, draw: random.Random) -> None:
    """Damage a model: bytes of a file, values of its configuration, or bytes of a member of its archive."""
    files = sorted(item for item in path.rglob("*") if item.is_file() and item.stat().st_size) or [path]
    file = draw.choice(files)
    if not zipfile.is_zipfile(file) or draw.random() < 0.2:
        file.write_bytes(damaged(file.read_bytes(), draw))
        return
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice([*members, "config.json"])
    if name == "config.json" and draw.random() < 0.7:
        members[name] = json.dumps(odd(json.loads(members[name]), draw)).encode()
    else:
        members[name] = damaged(members[name], draw)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    file.write_bytes(content.getvalue())


def bring_in(path: Path) -> None:
    """What importing a model does before it is converted."""
    source = load_source(path)
    check_fit(source.facts, SHAPE, "the data", {})
    source = sized(source, {"": list(SHAPE)})
    outputs = source.predict(np.linspace(0, 1, 4 * 64, dtype=np.float32).reshape(4, *SHAPE))
    if len(outputs) != 4:
        raise InputError(f"gives {len(outputs)} outputs for 4 samples", where=str(path))


class Fuzzer:
    """Damages a model of some format, brings it in, and makes the next one."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        # Made in another process: one that has used TensorFlow has threads, and cannot be forked any more.
        made = subprocess.run(
            [sys.executable, "-m", "tests.models.load_fuzz", "--make", folder / "sources"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout
        self.sources = {name: folder / "sources" / file for name, file in NAMES.items()}
        self.counts: Counter[str] = Counter()

    def once(self) -> None:
        """One damaged model. What is wrong raises, and the model is kept."""
        name = self.draw.choice(sorted(self.sources))
        source = self.sources[name]
        path = self.folder / "tried" / source.name
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        shutil.copytree(source, path) if source.is_dir() else shutil.copyfile(source, path)
        change(path, self.draw)
        kind, message = in_a_process(path)
        if kind == "refused" and ("\n" in message or path.name not in message):
            kind, message = "badly refused", repr(message)
        self.counts[f"{name} {kind}"] += 1
        if kind not in ("read", "refused"):
            kept = self.folder / f"failing-{sum(self.counts.values())}"
            shutil.copytree(path.parent, kept)
            raise AssertionError(f"{kept}: {kind}: {message}")


def in_a_process(path: Path) -> tuple[str, str]:
    """Bring a model in in a forked process; how it ended, and what was said."""
    answer, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        os._exit(_child(path, told))
    os.close(told)
    with os.fdopen(answer, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"ended by {signal.Signals(-code).name}", content.decode()
    kind, message = json.loads(content)
    return kind, message


def _child(path: Path, told: int) -> int:
    signal.alarm(SLOWEST)
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    try:
        bring_in(path)
        found: tuple[str, str] = ("read", "")
    except InputError as error:
        found = ("refused", str(error))
    except BaseException:
        found = ("unforeseen", traceback.format_exc())
    os.write(told, json.dumps(found).encode()[:60_000])
    return 0


def fuzz(folder: Path, *, count: int = 0, seconds: float = 0, seed: int = 0) -> Counter[str]:
    """Damage that many models, or as many as the time allows."""
    tf_keras()
    fuzzer, end, done = Fuzzer(folder, seed), time.monotonic() + seconds, 0
    while done < count or time.monotonic() < end:
        fuzzer.once()
        done += 1
    return fuzzer.counts


def main() -> None:
    """Fuzz for some minutes and print the counts; with --go-on, print each fault and go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--go-on", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    asked: Any = parser.parse_args()
    if asked.make:
        make(asked.make)
        return
    folder = Path(tempfile.mkdtemp(prefix="litemill-fuzz-"))
    sys.stdout.write(f"seed {asked.seed}, files in {folder}\n")
    tf_keras()
    fuzzer, end = Fuzzer(folder, asked.seed), time.monotonic() + 60 * asked.minutes
    while time.monotonic() < end:
        try:
            fuzzer.once()
        except AssertionError as fault:
            if not asked.go_on:
                raise
            sys.stdout.write(f"{fault}\n")
            sys.stdout.flush()
    sys.stdout.write("\n".join(f"{name}: {number}" for name, number in sorted(fuzzer.counts.items())) + "\n")
    if not asked.go_on:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
