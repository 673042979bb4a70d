"""Files of a data set: plain files that can be read; what a system leaves beside them is passed over."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from litemill.errors import InputError

LEFT_BEHIND = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found"})
"""Folders that macOS, Python, Synology, Windows and file systems put beside what a user put there."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not the user's own: `.ipynb_checkpoints`, `._photo.jpg`, `__MACOSX`."""
    return name.startswith(".") or name in LEFT_BEHIND


def plain_file(path: Path) -> Path:
    """Return a path that is a file which can be read; a pipe or a device would be waited for.

    Raises:
        InputError: It is something else, cannot be read, or is not there.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if not stat.S_ISREG(mode):
        raise InputError("is not a file", where=str(path), fix="Give files; pipes, sockets and devices are not read")
    if not os.access(path, os.R_OK):
        raise InputError("cannot be read (Permission denied)", where=str(path))
    return path


def sub_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in order, without hidden ones.

    Raises:
        InputError: The folder cannot be read.
    """
    try:
        return sorted(item.name for item in folder.iterdir() if item.is_dir() and not is_hidden(item.name))
    except OSError as error:
        _unreadable(error)


def files_below(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """All files below a folder whose name is wanted, in order, without hidden ones.

    Raises:
        InputError: A folder cannot be read, or something of such a name is not a file.
    """
    return sorted(plain_file(path) for path in _below(folder) if wanted(path.name))


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(place) / name for name in names if not is_hidden(name))


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(f"cannot be read ({error.strerror})", where=str(error.filename)) from None
