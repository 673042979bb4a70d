"""Files that come from outside: what kind they are is asked before they are opened, and archives before they unpack."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from litemill.errors import InputError

MIB = 1 << 20
UNPACKED = 256 * MIB
"""Bytes that any archive may unpack to."""
RATIO = 50
"""How many times its own size a larger archive may unpack to: weights hardly compress, a bomb a thousandfold."""
KINDS = {
    stat.S_ISDIR: "a folder, not a file",
    stat.S_ISFIFO: "a named pipe, not a file",
    stat.S_ISSOCK: "a socket, not a file",
    stat.S_ISCHR: "a device, not a file",
    stat.S_ISBLK: "a device, not a file",
}
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError, IndexError)
"""What `zipfile` raises for a damaged archive."""


def is_folder(path: Path) -> bool:
    """Whether a path is a folder whose contents can be listed.

    Raises:
        InputError: It is one that may not be read.
    """
    try:
        found = path.is_dir()
        if found:
            next(path.iterdir(), None)
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None
        return False  # what else is wrong with it, `require_file` tells
    return found


def require_file(path: Path) -> Path:
    """The path of a file that can be opened and read to its end.

    Raises:
        InputError: There is none, it is a folder, a pipe, a socket or a device, or it may not be read.
    """
    try:
        mode = path.stat().st_mode
        for is_kind, kind in KINDS.items():
            if is_kind(mode):
                raise InputError(f"is {kind}", where=str(path))
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise InputError("no such file or folder", where=str(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot be read ({reason})", where=str(path)) from None


def unpacked_limit(size: int) -> int:
    """Bytes that a compressed file may unpack to.

    Args:
        size: Its own bytes.
    """
    return max(UNPACKED, RATIO * size)


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a zip archive whose members are all sound in name, compression and size; their bytes are not read.

    Raises:
        InputError: It is damaged or encrypted, a member leads outside, is compressed in an unknown way or stands in it
            twice, or it would unpack to much more than it should.
    """
    try:
        archive = zipfile.ZipFile(require_file(path))
    except BROKEN as error:
        raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None
    names: set[str] = set()
    for info in archive.infolist():
        if reason := _refusal(info, names):
            archive.close()
            raise InputError(reason, where=str(path))
        names.add(info.filename)
    total, limit = sum(info.file_size for info in archive.infolist()), unpacked_limit(path.stat().st_size)
    if total > limit:
        archive.close()
        raise InputError(
            f"unpacks to {total / MIB:,.0f} MiB, more than the {limit / MIB:,.0f} allowed", where=str(path)
        )
    return archive


def _refusal(info: zipfile.ZipInfo, names: set[str]) -> str:
    """Why a member is refused; empty for a sound one."""
    name = info.filename
    if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
        return f"has a member that leads out of the archive: {name!r}"
    if stat.S_ISLNK(info.external_attr >> 16):
        return f"has a member that is a symbolic link: {name!r}"
    if info.flag_bits & 1:
        return f"is encrypted ({name!r})"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        return f"has a member in a compression that is not supported: {name!r} (method {info.compress_type})"
    return f"has the member {name!r} twice" if name in names else ""


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member, of no more than it declares.

    Raises:
        InputError: It is damaged.
    """
    try:
        with archive.open(name) as stream:
            return stream.read(archive.getinfo(name).file_size + 1)
    except BROKEN as error:
        raise InputError(f"is damaged ({name}: {error})", where=str(archive.filename)) from None
