"""What the cases of one `make bench` share: a folder, copies of the repository, the data, the first run of the demo."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from shutil import copy2
from typing import NamedTuple

from benchmarks.programs import BenchmarkFailed, Run, run
from benchmarks.record import ROOT
from benchmarks.steps import Step, steps_of

log = logging.getLogger("bench")

MINUTES = 25.0
"""After which nothing long is repeated, so that `make bench` stays under 40 minutes on two cores."""
PEER = "61dce74"
"""The commit that `make demo` is held against."""
CONFIG = Path("pipelines/digits/config.yaml")
MODEL = Path("examples/digits/model.keras")
WORK = Path(".litemill")
OUT = Path("out/digits")
"""Where the demo's run keeps its cache and its logs, and where its results go."""


class Tree(NamedTuple):
    """A copy of the repository in which nothing has run, and the environment that runs Python in it."""

    folder: Path
    environment: Path = Path(sys.prefix)

    @property
    def variables(self) -> dict[str, str]:
        """So that the copy's own code is imported, from the environment that is installed."""
        return {"PYTHONPATH": str(self.folder)}

    def make(self, target: str) -> Run:
        """`make TARGET` after set-up: the environment is there, and is not built anew."""
        command = ["make", target, f"VENV={self.environment}", "-o", "setup", "-o", f"{self.environment}/.ready"]
        return run(command, cwd=self.folder, variables=self.variables)

    def litemill(self, *arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> Run:
        """`litemill …` in the copy."""
        command: list[str | Path] = [sys.executable, "-m", "litemill", *arguments]
        return run(command, cwd=self.folder, variables=self.variables, allowed=allowed)

    def demo(self) -> Demo:
        """`make demo` in a copy that is as new: the model is trained, then its pipeline runs."""
        model = self.make(str(MODEL))
        pipeline = self.make("demo")
        return Demo(self, model.seconds, pipeline.seconds)


class Demo(NamedTuple):
    """A demo that has run, in seconds."""

    tree: Tree
    model_s: float
    run_s: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.model_s + self.run_s


class FirstRun(NamedTuple):
    """Our demo with nothing in the cache, and when each of its steps was at work."""

    demo: Demo
    steps: list[Step]


class Session:
    """One `make bench`.

    Args:
        folder: Where everything is written; removed by the caller.
        tell: Called with a line on what is measured now.
        minutes: After which nothing that takes minutes is measured once more.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None], *, minutes: float = MINUTES) -> None:
        self.folder, self.tell = folder, tell
        self._ends = time.monotonic() + 60 * minutes
        self._trees = 0

    def turns(self, wanted: int) -> Iterator[str]:
        """The repetitions of what takes minutes, as they are shown: fewer where another one would take too long."""
        for turn in range(wanted):
            began = time.monotonic()
            yield f"{turn + 1} of {wanted}"
            ended = time.monotonic()
            if ended + (ended - began) > self._ends:
                return

    def place(self, name: str) -> Path:
        """A new folder."""
        found = self.folder / name
        found.mkdir(parents=True)
        return found

    def ours(self) -> Tree:
        """A copy of this checkout's tracked files as they are now."""
        folder = self._new_tree("ours")
        listed = _git("ls-files", "-z").decode().split("\0")
        for name in filter(None, listed):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                copy2(ROOT / name, folder / name)
        return Tree(folder)

    def peer(self) -> Tree:
        """The repository at the commit it is held against.

        Raises:
            BenchmarkFailed: The history that is here does not reach back to it.
        """
        try:
            archive = _git("archive", PEER)
        except subprocess.CalledProcessError as error:
            text = error.stderr.decode(errors="replace").strip()
            raise BenchmarkFailed(f"commit {PEER} is not here ({text}): fetch the whole history") from error
        folder = self._new_tree("peer")
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        environment = self.folder / "peer-environment"
        if not environment.exists():
            self.tell(f"make setup at {PEER}: its own packages")
            run(["make", "setup", f"VENV={environment}", f"PYTHON={sys.executable}"], cwd=folder)
        return Tree(folder, environment)

    @cached_property
    def first_run(self) -> FirstRun:
        """Our demo, run once with nothing in the cache; what comes after a first run goes on from here."""
        self.tell("make demo, with nothing in the cache")
        demo = self.ours().demo()
        return FirstRun(demo, steps_of(demo.tree.folder / WORK))

    @cached_property
    def fashion(self) -> Path:
        """Fashion-MNIST as `data.npz`."""
        path = self.place("fashion") / "data.npz"
        kept = ROOT / "examples/fashion_mnist/data.npz"
        if kept.is_file():
            path.symlink_to(kept)
            return path
        self.tell("Fashion-MNIST")
        command: list[str | Path] = [sys.executable, ROOT / "examples/fashion_mnist/data.py", path]
        run(command, cwd=path.parent, variables={"PYTHONPATH": str(ROOT)})
        return path

    def python(self, module: str, *arguments: str | Path, cwd: Path, look_at_memory: bool = False) -> Run:
        """`python -m MODULE …` with this checkout's code."""
        command: list[str | Path] = [sys.executable, "-m", module, *arguments]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return run(command, cwd=cwd, variables={"PYTHONPATH": path}, look_at_memory=look_at_memory)

    def _new_tree(self, name: str) -> Path:
        self._trees += 1
        return self.place(f"{name}-{self._trees}")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=True).stdout  # noqa: S607
