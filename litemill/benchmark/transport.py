"""Transports: how a job of the Python runner gets to a device and its results back."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from litemill.benchmark.python_runner import Entry, RunnerOptions, run_local


class Transport(Protocol):
    """A connection to a device, open for a session: what is pushed is gone when it ends."""

    local: bool
    """Whether the device is this machine."""

    def __enter__(self) -> Transport:
        """Connect.

        Raises:
            DeviceError: The device cannot be reached, or refuses.
        """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clean up on the device and disconnect."""

    def run(
        self, mode: str, entries: list[Entry], options: RunnerOptions, out: Path, time_limit: float
    ) -> dict[str, Any]:
        """Run a job, in a process of its own on the device.

        Args:
            mode: `facts`, `probe` or `latency`.
            entries: The models, by their paths on this machine.
            options: How to measure.
            out: New local folder for `result.json` and the raw outputs.
            time_limit: Seconds the runner may take; it is kept on both sides.

        Returns:
            The runner's `result.json`.

        Raises:
            DeviceError: The device failed: connection lost, disk full, no runtime.
            StepFailed: The runner crashed, hung or refused these models.
        """


class LocalTransport:
    """This machine."""

    local = True

    def __enter__(self) -> LocalTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(
        self, mode: str, entries: list[Entry], options: RunnerOptions, out: Path, time_limit: float
    ) -> dict[str, Any]:
        """See `Transport.run`."""
        return run_local(mode, entries, options, out, time_limit)
