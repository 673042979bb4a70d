"""Locks between processes that name who holds them; the kernel frees them when their process dies.

Users of one machine share its devices, so the folder of the locks is open to all of them: with the sticky bit, and no
link in it is followed. Where that folder is not to be trusted, a folder of the user's own takes its place.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from litemill.errors import LitemillError

SHARED = Path("/tmp/litemill-locks")  # noqa: S108 - not TMPDIR: each run has one of its own, and they share devices
SHARED_MODE, OWN_MODE = 0o1777, 0o700
EVERY = 0.05
"""Seconds between two looks at a lock that is held."""
LONGEST = 120
"""Characters of a holder's command, and of a lock's name."""


class LockHeld(LitemillError):
    """A lock was held by another process for all the time that was waited."""


def lock_path(name: str, folder: Path | None = None) -> Path:
    """The lock file of a name: readable, and distinct for distinct names.

    Args:
        name: What is locked.
        folder: Where it is; by default the folder that all users of this machine share.

    Raises:
        LitemillError: There is no folder for locks that others cannot tamper with.
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_")[-LONGEST:]
    return (folder or _folder()) / f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.lock"


@contextmanager
def held(name: str, wait: float = 0.0, *, folder: Path | None = None) -> Iterator[Path]:
    """Hold the lock of a name for the block; yields its file, which is gone afterwards.

    Args:
        name: What is locked.
        wait: Seconds to wait for another process to let go.
        folder: Where the lock's file is, for what only the users of that folder share.

    Raises:
        LockHeld: Another process held it for all that time; says which.
        LitemillError: The lock's file cannot be used.
    """
    path = lock_path(name, folder)
    handle = _acquire(path, name, wait)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, _sign().encode(), 0)
        yield path
    finally:
        os.ftruncate(handle, 0)
        with suppress(OSError):  # it may be another user's: only they may remove it
            path.unlink()
        os.close(handle)


def _acquire(path: Path, name: str, wait: float) -> int:
    until = time.monotonic() + wait
    handle = _open(path)
    try:
        while True:
            if _take(handle):
                if _is_at(handle, path):
                    return handle
                os.close(handle)  # the holder before us has removed it
                handle = _open(path)
                continue
            if time.monotonic() >= until:
                raise LockHeld(f"another task has held it for {wait:g} s{_holder(handle)}", where=name)
            time.sleep(EVERY)
    except BaseException:
        os.close(handle)
        raise


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at its path."""
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign() -> str:
    """What the holder of a lock leaves in its file."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:LONGEST]
    return f"process {os.getpid()} of {_user()} since {time.strftime('%H:%M:%S')} ({command})"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user that no file names
        return str(os.getuid())


def _holder(handle: int) -> str:
    text = os.pread(handle, 4 * LONGEST, 0).decode(errors="replace").strip()
    return f" by {text}" if text and text.isprintable() else ""


def _open(path: Path) -> int:
    """A lock's file, made when there is none; never through a link."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            handle = os.open(path, flags | os.O_CREAT, 0o666)
            with suppress(PermissionError):  # another user was faster, and has done it
                os.fchmod(handle, 0o666)
            return handle
    except OSError as error:
        linked = error.errno == errno.ELOOP
        reason = "is a symbolic link" if linked else f"cannot be opened ({error.strerror})"
        raise LitemillError(f"the lock {reason}", where=str(path), fix="Remove it") from None


def _folder() -> Path:
    """The folder of locks: the one that users share, else one of the user's own."""
    if _usable(SHARED, SHARED_MODE):
        return SHARED
    own = SHARED.with_name(f"{SHARED.name}-{os.getuid()}")
    if _usable(own, OWN_MODE):
        return own
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "litemill/locks"  # noqa: PTH111
    with suppress(OSError):
        home.parent.mkdir(parents=True, exist_ok=True)
    if _usable(home, OWN_MODE):
        return home
    raise LitemillError(
        "is a link, or belongs to another user who may change what is in it", where=str(own), fix="Have it removed"
    )


def _usable(folder: Path, mode: int) -> bool:
    """Make a folder if need be, and tell whether locks in it are safe from others.

    Ours, or (the shared one) anybody's as long as the sticky bit keeps users from removing each other's files. A folder
    that is a link is nobody's.
    """
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(handle)
        ours = found.st_uid == os.geteuid()
        if ours and stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(handle, mode)
            return True
        shared = mode == SHARED_MODE and stat.S_IMODE(found.st_mode) == mode
        return ours or shared
    finally:
        os.close(handle)
