"""A real MLflow server on the loopback, which can be killed and started again on the same store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 180.0
"""Seconds to wait for it: on a busy machine it takes a minute to start."""


class MlflowServer:
    """A server with a sqlite store and served artifacts, in a folder.

    Args:
        folder: For the store, the artifacts and the log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        options += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        options += ["--artifacts-destination", str(self.folder / "files")]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**variables, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            assert self._process.poll() is None, self.log
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise AssertionError(f"the server did not come up: {self.log}")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it with all its workers, at once."""
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait(timeout=30)
            self._process = None


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve for the block; yields the server's address. Its database is `mlflow.db`, its artifacts are in `files`."""
    server = MlflowServer(folder)
    try:
        server.start()
        yield server.address
    finally:
        server.kill(signal.SIGTERM)
