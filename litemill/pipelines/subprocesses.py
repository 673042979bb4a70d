"""Run tasks as processes of this machine, forked from one that has imported what they need."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from litemill.components.images import TRAIN
from litemill.pipelines.execute import Order
from litemill.pipelines.logs import RedactedOutput, last_lines
from litemill.pipelines.preloaded import Kind, Preloaded, take
from litemill.pipelines.task import ARGUMENTS, ERROR, SOURCE
from litemill.process.forks import ForkServer, Process
from litemill.process.isolation import death

MODULE = "litemill.pipelines.task"


class Forks:
    """Fork servers of a run: one with the light libraries, one with TensorFlow, each started when it is first needed.

    Args:
        temporary: The run's folder for temporary files; each task gets one of its own in it.
        log: Folder for what the servers print.
    """

    def __init__(self, temporary: Path, log: Path) -> None:
        self.temporary, self.log = temporary, log
        self._servers: dict[Kind, Preloaded] = {}
        self._lock = threading.Lock()

    def server(self, kind: Kind) -> ForkServer:
        """The server of a kind; started now if it was not."""
        with self._lock:
            if kind not in self._servers:
                self._servers[kind] = take(kind)
            return self._servers[kind].server

    def launch(self, order: Order, output: IO[bytes]) -> ForkedTask:
        """Start a task."""
        folder = Path(tempfile.mkdtemp(prefix="task-", dir=self.temporary))
        at = next(at for at, text in enumerate(order.command) if "/ephemeral_component.py" in text) + 1
        (folder / SOURCE).write_text(order.command[at], encoding="utf-8")
        (folder / ARGUMENTS).write_text(json.dumps(order.command[at + 1 :]), encoding="utf-8")
        variables = {**os.environ, "HOME": self._home(), **order.variables, "TMPDIR": str(folder)}
        server = self.server("train" if order.image == TRAIN else "light")
        printed = RedactedOutput(output)
        try:
            process = server.start(MODULE, [str(folder), order.name], printed.writer, variables)
        finally:
            printed.started()
        return ForkedTask(folder, process, printed, Path(output.name))

    def _home(self) -> str:
        try:
            return str(Path.home())
        except RuntimeError:  # a user without a name and without HOME
            return str(self.temporary)

    def close(self) -> None:
        """End the servers, and every task that still runs."""
        for kind, preloaded in self._servers.items():
            preloaded.close(self.log / f"{kind}.log")


@dataclass
class ForkedTask:
    """A task's process; see `litemill.pipelines.execute.Job`."""

    folder: Path
    process: Process
    printed: RedactedOutput
    log: Path

    def wait(self) -> str | tuple[str, int]:
        """Wait for its end: nothing where it went well, else the true error and the exit code it asks for."""
        code = self.process.wait()
        self.printed.finish()
        try:
            if code == 0:
                return ""
            error = self.folder / ERROR
            if error.is_file():
                found = json.loads(error.read_text(encoding="utf-8"))
                return found["reason"], found["exit_code"]
            return death(code or 1, last_lines(self.log), None, "the task's process"), 1
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End it, with all that it started."""
        self.process.kill()


@contextmanager
def forks(temporary: Path, log: Path) -> Iterator[Forks]:
    """Fork servers for the block."""
    found = Forks(temporary, log)
    try:
        yield found
    finally:
        found.close()
