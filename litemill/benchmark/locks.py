"""A device is held by one task at a time, whichever processes of this machine want it."""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from litemill.errors import DeviceError

log = logging.getLogger(__name__)

FOLDER = Path(tempfile.gettempdir()) / "litemill-locks"


def lock_path(device: str) -> Path:
    """The lock file of a device: readable, and distinct for distinct devices."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", device).strip("_")
    return FOLDER / f"{plain}-{hashlib.sha256(device.encode()).hexdigest()[:8]}.lock"


@contextmanager
def device_lock(device: str, wait: float) -> Iterator[None]:
    """Hold a device for the block; the kernel frees it if this process dies.

    Args:
        device: The device, as a target names it.
        wait: Seconds to wait for another task to end.

    Raises:
        DeviceError: Another task held it for all that time.
    """
    path = lock_path(device)
    path.parent.mkdir(exist_ok=True)
    if path.parent.stat().st_mode & 0o777 != 0o777:
        path.parent.chmod(0o777)  # users of this machine share its devices
    lock = FileLock(path, timeout=wait, mode=0o666)
    try:
        lock.acquire()
    except Timeout:
        raise DeviceError(f"another task has held it for {wait:g} s", where=device, fix=f"Its lock: {path}") from None
    try:
        yield
    finally:
        lock.release()
