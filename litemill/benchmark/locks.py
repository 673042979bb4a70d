"""A device is held by one task at a time, whichever processes of this machine want it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litemill.errors import DeviceError
from litemill.process import locks


def lock_path(device: str) -> Path:
    """The lock file of a device: readable, and distinct for distinct devices."""
    return locks.lock_path(device)


@contextmanager
def device_lock(device: str, wait: float) -> Iterator[None]:
    """Hold a device for the block; the kernel frees it if this process dies.

    Args:
        device: The device, as a target names it.
        wait: Seconds to wait for another task to end.

    Raises:
        DeviceError: Another task held it for all that time; says which.
    """
    try:
        with locks.held(device, wait):
            yield
    except locks.LockHeld as error:
        raise DeviceError(error.what, where=device, fix=f"Its lock: {lock_path(device)}") from None
