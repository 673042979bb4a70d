"""What storages of buckets share: an address is an object or a folder of objects, and a release is for good."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from litemill.artifacts.storage import Found
from litemill.errors import InputError

TAKEN = "exists already; a release is never overwritten"


@dataclass(frozen=True)
class StoredObject:
    """An object in a bucket.

    Attributes:
        bucket: The bucket's name.
        key: Its name in there.
        version: What changes when its content does.
        handle: What the client calls it by.
    """

    bucket: str
    key: str
    version: str
    handle: Any = None


class BucketStorage(ABC):
    """A storage of buckets (see `litemill.artifacts.storage.Storage`); a subclass speaks its protocol."""

    scheme: ClassVar[str]

    @abstractmethod
    def errors(self, uri: str) -> AbstractContextManager[None]:
        """Say the client's errors in the block as one sentence each."""

    @abstractmethod
    def one(self, bucket: str, key: str) -> StoredObject | None:
        """The object of that very name, if there is one."""

    @abstractmethod
    def below(self, bucket: str, prefix: str, most: int | None = None) -> list[StoredObject]:
        """The objects whose names begin so, `most` of them at most."""

    @abstractmethod
    def download(self, found: StoredObject, path: Path) -> None:
        """Copy an object into a file."""

    @abstractmethod
    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Copy a file into a new object; one of that name is an error of the client."""

    def resolve(self, uri: str) -> str:
        """See `Storage.resolve`: these addresses do not move."""
        return uri

    def find(self, uri: str) -> Found:
        """See `Storage.find`."""
        bucket, key = self._split(uri)
        with self.errors(uri):
            exact = self.one(bucket, key) if key else None
            objects = [exact] if exact else self.below(bucket, f"{key}/" if key else "")
        objects = sorted((one for one in objects if not one.key.endswith("/")), key=lambda one: one.key)
        if not objects:
            raise InputError("no such object or folder", where=uri)
        lines = [f"{one.key}\0{one.version}\n" for one in objects]
        return Found(hashlib.sha256("".join(lines).encode()).hexdigest(), partial(self._download, objects, key, uri))

    def publish(self, folder: Path, place: str) -> None:
        """See `Storage.publish`."""
        bucket, prefix = self._split(place)
        with self.errors(place):
            if self.below(bucket, f"{prefix}/", most=1):
                raise InputError(TAKEN, where=place)
            for file in sorted(item for item in folder.rglob("*") if item.is_file()):
                self.upload(file, bucket, f"{prefix}/{file.relative_to(folder).as_posix()}")

    def _download(self, objects: Sequence[StoredObject], key: str, uri: str, into: Path) -> Path:
        for one in objects:
            inside = one.key.removeprefix(key).strip("/")
            path = into / inside if inside else into
            if not path.resolve().is_relative_to(into.resolve()):
                raise InputError(f"an object's name leads out of the folder: {one.key!r}", where=uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.errors(f"{self.scheme}://{one.bucket}/{one.key}"):
                self.download(one, path)
        return into

    def _split(self, uri: str) -> tuple[str, str]:
        """The bucket and the key of an address."""
        mark = f"{self.scheme}://"
        bucket, _, key = uri.removeprefix(mark).partition("/")
        if not uri.startswith(mark) or not bucket:
            raise InputError(f"a {mark} address names a bucket: {mark}bucket/key", where=uri)
        return bucket, key.strip("/")
