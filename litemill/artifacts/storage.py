"""One way to read and write models, data and releases: local paths, and the addresses of every storage there is.

Another package adds a storage by an entry point of the group `litemill.storage` that names a `Store`. Credentials come
from the ordinary environment of each storage and from nowhere else.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from litemill.artifacts.files import sha256_of, staged
from litemill.errors import ConfigError, InputError
from litemill.plugins import Registry, load

ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
NAMED_BY = 32
"""Digits of a digest that name its folder in the cache."""
FOLDER = "folder"
"""What a folder is called in the cache where a storage knows no digest of it."""


@dataclass(frozen=True)
class Store:
    """A storage.

    Attributes:
        name: The scheme of its addresses: `gs` of `gs://bucket/key`.
        summary: What it is, for the reader.
        address: The form of an address.
        opens: What reads and writes, as `package.module:name`: called without arguments, it returns a `Storage`.
        publishes: Whether a release can be published there.
    """

    name: str
    summary: str
    address: str
    opens: str
    publishes: bool = True


@dataclass(frozen=True)
class Found:
    """What is at an address now.

    Attributes:
        digest: Changes when the content does, and is known before anything is copied; empty where a storage knows none,
            and then the content's own is taken.
        download: Copies the file or folder into a new folder, and returns where it is in there.
    """

    digest: str
    download: Callable[[Path], Path]


class Storage(Protocol):
    """What reads and writes the addresses of one kind."""

    def resolve(self, uri: str) -> str:
        """What an address that may move means now; any other address as it is.

        Raises:
            InputError: There is no such thing.
        """

    def find(self, uri: str) -> Found:
        """Look up what is at an address. Copies nothing.

        Raises:
            InputError: There is nothing, or access is refused.
            LitemillError: The storage does not answer.
        """

    def publish(self, folder: Path, place: str) -> None:
        """Copy all files of a folder below an address, without ever overwriting one.

        Raises:
            InputError: There is something already, or access is refused.
            LitemillError: The storage does not answer.
        """


STORES = Registry(
    "storage",
    "litemill.storage",
    Store,
    [
        Store("gs", "Google Cloud Storage", "gs://bucket/key", "litemill.artifacts.gcs:GoogleStorage"),
        Store("s3", "Amazon S3, and what speaks its protocol", "s3://bucket/key", "litemill.artifacts.s3:S3Storage"),
        # Named and not imported: only `track` knows MLflow, and nothing that reads data or models may depend on it.
        Store(
            "models",
            "MLflow's registry of models",
            "models:/name@alias or models:/name/version",
            "litemill.track.addresses:MlflowStorage",
            publishes=False,
        ),
        Store(
            "runs",
            "files of an MLflow run",
            "runs:/id/path",
            "litemill.track.addresses:MlflowStorage",
            publishes=False,
        ),
    ],
)
"""Storages by the scheme of their addresses."""


def resolve(uri: str) -> str:
    """What an address that may move means now: an alias in a model registry as its version, all else unchanged.

    Args:
        uri: A local path, or an address as `fetch` takes it.

    Raises:
        InputError: There is no such thing.
    """
    store = store_of(uri)
    return _open(store).resolve(uri) if store else uri


def fetch(uri: str, into: Path | None = None, *, sha256: str = "") -> Path:
    """Make an object or folder available locally.

    Args:
        uri: A local path, returned as it is; `gs://bucket/key` or `s3://bucket/key` of an object or of a prefix (a
            folder); `models:/…` or `runs:/…` in MLflow; or an address of a storage that another package brought.
        into: Folder to download into; by default a cache keyed by the objects' digest, so nothing is fetched twice.
        sha256: The digest that `digest` gave earlier, if it has to be the same still.

    Returns:
        The local path.

    Raises:
        InputError: There is nothing at `uri`, access is refused, or it has another digest now.
        ConfigError: There is no such kind of address.
    """
    store = store_of(uri)
    if store:
        path, found = _fetch(_open(store), uri, into)
    else:
        path = _local(uri)
        found = sha256_of(path) if sha256 else ""
    if sha256 and found != sha256:
        raise InputError("was changed since the run began", where=uri, fix="Start the run again")
    return path


def _local(uri: str) -> Path:
    """A file or folder of this machine.

    Raises:
        InputError: There is none that could be read.
    """
    path = Path(uri)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError("no such file or folder", where=uri) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", where=uri) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError("is neither a file nor a folder", where=uri, fix="Pipes, sockets and devices are not read")
    if not os.access(path, os.R_OK):
        raise InputError("cannot be read (Permission denied)", where=uri)
    return path


def digest(uri: str) -> str:
    """SHA-256 that changes when the content of `uri` does.

    It is the digest of the content; in a bucket of the objects' names and checksums, so that nothing has to be
    downloaded.

    Args:
        uri: A local path, or an address as `fetch` takes it.

    Raises:
        InputError: There is nothing at `uri`, or access is refused.
        ConfigError: There is no such kind of address.
    """
    store = store_of(uri)
    if store is None:
        return sha256_of(fetch(uri))
    storage = _open(store)
    return storage.find(uri).digest or _fetch(storage, uri, None)[1]


def publish(folder: Path, uri: str, name: str) -> str:
    """Copy a folder to `uri`/`name`, for good: what is published is never overwritten.

    Args:
        folder: Local folder with at least one file.
        uri: Local folder, or prefix of a storage that publishes.
        name: Name of the new sub-folder.

    Returns:
        Where it is: `uri`/`name`.

    Raises:
        InputError: Something of that name is there already, or access is refused.
        ConfigError: There is no such kind of address.
    """
    if not any(item.is_file() for item in folder.rglob("*")):
        raise InputError("nothing to publish: the folder has no file", where=str(folder))
    check_place(uri)
    place, store = f"{uri.rstrip('/')}/{name}", store_of(uri)
    if store:
        _open(store).publish(folder, place)
        return place
    with staged(Path(place)) as work:
        shutil.copytree(folder, work, dirs_exist_ok=True)
    return place


def check_place(uri: str) -> None:
    """Refuse an address where nothing can be published, without reaching it.

    Raises:
        InputError: The storage is for reading only.
        ConfigError: There is no such kind of address.
    """
    store = store_of(uri)
    if store and not store.publishes:
        places = ", ".join(one.address for one in STORES.records() if one.publishes)
        raise InputError("is not a place to publish to", where=uri, fix=f"Give a folder, or {places}")


def store_of(uri: str) -> Store | None:
    """The storage of an address; None for a local path.

    Raises:
        ConfigError: It has the form of an address, and there is no such storage and no such file.
    """
    found = ADDRESS.match(uri)
    if found is None or (found["scheme"] not in STORES and ("://" not in uri or Path(uri).exists())):
        return None
    try:
        return STORES[found["scheme"]]
    except ConfigError as error:
        raise ConfigError(error.what, where=uri, fix=error.fix) from None


def _open(store: Store) -> Storage:
    opened: Storage = load(store.opens)()
    return opened


def _fetch(storage: Storage, uri: str, into: Path | None) -> tuple[Path, str]:
    """Copy what is at an address unless it is in the cache; the path, and the digest.

    It is copied beside its place and renamed: an interrupted download is never taken for the object.
    """
    found, place = storage.find(uri), into or _cache()
    if found.digest:
        local = (into or place / found.digest[:NAMED_BY]) / uri.rstrip("/").rpartition("/")[2]
        if local.exists():
            return local, found.digest
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=place) as work:
        got = found.download(Path(work) / "got")
        digest = found.digest or sha256_of(got)
        if not found.digest:
            # A folder's own name is the storage's affair: content alone decides where it goes.
            local = (into or place / digest[:NAMED_BY]) / (got.name if got.is_file() else FOLDER)
        local.parent.mkdir(parents=True, exist_ok=True)
        if not local.exists():
            got.replace(local)
    return local, digest


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "litemill" / "objects"
