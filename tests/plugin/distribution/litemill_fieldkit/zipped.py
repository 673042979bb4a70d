"""The storage `zip`."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from litemill.extend import Found, InputError


class ZipStorage:
    """Reads `zip://archive.zip!path/of/file`."""

    def resolve(self, uri: str) -> str:
        """These addresses do not move."""
        return uri

    def find(self, uri: str) -> Found:
        """What is at an address. The digest is left out, so Litemill takes that of the content."""
        archive, mark, member = uri.removeprefix("zip://").partition("!")
        if not mark or not member:
            raise InputError("names no file in the archive: zip://archive.zip!path/of/file", where=uri)
        try:
            with ZipFile(archive) as opened:
                opened.getinfo(member)
        except (OSError, BadZipFile) as error:
            raise InputError(f"cannot be read ({error})", where=uri) from None
        except KeyError:
            raise InputError("is not in the archive", where=uri) from None
        return Found("", partial(self._download, archive, member))

    def publish(self, folder: Path, place: str) -> None:
        """Nothing is published into an archive."""
        raise InputError("is for reading only", where=place)

    def _download(self, archive: str, member: str, into: Path) -> Path:
        into.mkdir(parents=True)
        path = into / PurePosixPath(member).name
        with ZipFile(archive) as opened, opened.open(member) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        return path
