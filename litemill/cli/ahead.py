"""What a command will need, started while it imports everything else."""

from __future__ import annotations

READERS = "litemill.models.native"
"""Reads model files in a child process; see `litemill.models.peek`, which is too heavy to ask for the name."""


def start_readers() -> None:
    """Start the process that looks into model files: its imports take as long as this process's own."""
    from litemill.process.contained import begin

    begin(READERS)


def start_light_server() -> None:
    """Start the process that a local run forks its light tasks from: it imports KFP and MLflow while all is checked."""
    from litemill.pipelines.preloaded import begin

    begin("light")
