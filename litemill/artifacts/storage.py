"""One way to read and write objects: local paths, Google Cloud Storage (`gs://bucket/key`), and what MLflow keeps.

Credentials come from the ordinary environment (`GOOGLE_APPLICATION_CREDENTIALS`, workload identity, gcloud's default);
`STORAGE_EMULATOR_HOST` points the client at an emulator.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from litemill.artifacts.files import sha256_of, staged
from litemill.errors import InputError, LitemillError, first_line

GS = "gs://"
KEEPERS = {"models:/": "litemill.track.addresses", "runs:/": "litemill.track.addresses"}
"""Modules that read (never write) addresses of another kind: `resolve(uri)` and `download(uri, into)`. Named and not
imported: only `track` knows MLflow, and nothing that reads data or models may depend on it."""
CHUNK_BYTES = 8 << 20
NAMED_BY = 32
"""Digits of a digest that name its folder in the cache."""
FOLDER = "folder"
"""What a folder from MLflow is called in the cache."""


def is_remote(uri: str) -> bool:
    """Whether `uri` names a Google Cloud Storage object or prefix."""
    return uri.startswith(GS)


def resolve(uri: str) -> str:
    """What an address that may move means now: an alias in a model registry as its version, all else unchanged.

    Raises:
        InputError: There is no such thing.
    """
    store = _store_of(uri)
    return str(store.resolve(uri)) if store else uri


def fetch(uri: str, into: Path | None = None, *, sha256: str = "") -> Path:
    """Make an object or folder available locally.

    Args:
        uri: A local path, returned as it is; `gs://bucket/key` of an object or of a prefix (a folder); or
            `models:/…` or `runs:/…` in MLflow.
        into: Folder to download into; by default a cache keyed by the objects' digest, so nothing is fetched twice.
        sha256: The digest that `digest` gave earlier, if it has to be the same still.

    Returns:
        The local path.

    Raises:
        InputError: There is nothing at `uri`, access is refused, or it has another digest now.
    """
    store = _store_of(uri)
    if store:
        path, found = _fetch_kept(store, uri, into)
    elif is_remote(uri):
        blobs = _blobs(uri)
        found = _digest(blobs)
        path = _fetch_blobs(blobs, uri, into or _cache() / found[:NAMED_BY])
    else:
        path = Path(uri)
        if not path.exists():
            raise InputError("no such file or folder", where=uri)
        found = sha256_of(path) if sha256 else ""
    if sha256 and found != sha256:
        raise InputError("was changed since the run began", where=uri, fix="Start the run again")
    return path


def digest(uri: str) -> str:
    """SHA-256 that changes when the content of `uri` does.

    It is the digest of the content; for `gs://` of the objects' names, generations and checksums, so that nothing has
    to be downloaded.

    Args:
        uri: A local path, or an address as `fetch` takes it.

    Raises:
        InputError: There is nothing at `uri`, or access is refused.
    """
    if is_remote(uri):
        return _digest(_blobs(uri))
    store = _store_of(uri)
    return _fetch_kept(store, uri, None)[1] if store else sha256_of(fetch(uri))


def _store_of(uri: str) -> Any | None:
    """The module that reads an address of this kind; None where storage does by itself."""
    name = next((module for prefix, module in KEEPERS.items() if uri.startswith(prefix)), "")
    return importlib.import_module(name) if name else None


def _fetch_kept(store: Any, uri: str, into: Path | None) -> tuple[Path, str]:
    """Download what a keeper has, which tells no digest beforehand; the path and the digest of the content."""
    place = into or _cache()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=place) as work:
        got = Path(store.download(uri, Path(work) / "got"))
        # A folder's own name is the keeper's affair: content alone decides where it goes.
        name = got.name if got.is_file() else FOLDER
        found = sha256_of(got)
        local = (into or place / found[:NAMED_BY]) / name
        local.parent.mkdir(parents=True, exist_ok=True)
        if not local.exists():
            got.replace(local)
    return local, found


def _fetch_blobs(blobs: list[Any], uri: str, into: Path) -> Path:
    bucket, key = _split(uri)
    local = into / PurePosixPath(key).name if key else into / bucket
    if not local.exists():
        _download(blobs, key, local, uri)
    return local


def publish(folder: Path, uri: str, name: str) -> str:
    """Copy a folder to `uri`/`name`, for good: what is published is never overwritten.

    Args:
        folder: Local folder with at least one file.
        uri: Local folder or `gs://` prefix.
        name: Name of the new sub-folder.

    Returns:
        Where it is: `uri`/`name`.

    Raises:
        InputError: Something of that name is there already, or access is refused.
    """
    files = sorted(item for item in folder.rglob("*") if item.is_file())
    if not files:
        raise InputError("nothing to publish: the folder has no file", where=str(folder))
    if _store_of(uri):
        raise InputError("is no place to publish to", where=uri, fix="Give a folder or a gs:// prefix")
    place = f"{uri.rstrip('/')}/{name}"
    if not is_remote(uri):
        with staged(Path(place)) as work:
            shutil.copytree(folder, work, dirs_exist_ok=True)
        return place
    bucket, prefix = _split(place)
    with _message(place):
        client = _client()
        if any(True for _ in client.list_blobs(bucket, prefix=prefix + "/", max_results=1)):
            raise InputError("exists already; a release is never overwritten", where=place)
        for file in files:
            blob = client.bucket(bucket).blob(f"{prefix}/{file.relative_to(folder).as_posix()}", chunk_size=CHUNK_BYTES)
            blob.upload_from_filename(str(file), if_generation_match=0)
    return place


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(GS).partition("/")
    if not bucket:
        raise InputError("a gs:// address names a bucket: gs://bucket/key", where=uri)
    return bucket, key.strip("/")


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "litemill" / "objects"


def _client() -> Any:
    """A storage client; anonymous when only an emulator is addressed."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project="emulator", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    return storage.Client()


@contextmanager
def _message(uri: str) -> Iterator[None]:
    """Say a storage error as one sentence."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.NotFound:
        raise InputError("no such bucket or object", where=uri) from None
    except exceptions.PreconditionFailed:
        raise InputError("exists already; a release is never overwritten", where=uri) from None
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        fix = "Grant the account in use storage.objects.get/list/create on it"
        raise InputError(f"access refused ({error.code})", where=uri, fix=fix) from None
    except GoogleAuthError as error:
        fix = "Set GOOGLE_APPLICATION_CREDENTIALS or run gcloud auth application-default login"
        reason = str(error).rstrip(".")
        raise InputError(f"no usable Google credentials: {reason}", where=uri, fix=fix) from None
    except (exceptions.GoogleAPICallError, exceptions.RetryError, OSError) as error:
        raise LitemillError(f"the storage service did not answer: {first_line(error)}", where=uri) from error


def _blobs(uri: str) -> list[Any]:
    """The object at `uri`, or the objects under it as a folder, in the order of their names."""
    bucket, key = _split(uri)
    with _message(uri):
        client = _client()
        if key and (blob := client.bucket(bucket).get_blob(key)):
            return [blob]
        found = client.list_blobs(bucket, prefix=key + "/" if key else None)
        blobs = [blob for blob in found if not blob.name.endswith("/")]
    if not blobs:
        raise InputError("no such object or folder", where=uri)
    return sorted(blobs, key=lambda blob: str(blob.name))


def _digest(blobs: list[Any]) -> str:
    lines = [f"{blob.name}\0{blob.generation}\0{blob.md5_hash}\0{blob.crc32c}\0{blob.size}\n" for blob in blobs]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _download(blobs: list[Any], key: str, local: Path, uri: str) -> None:
    """Download beside `local`, then rename: an interrupted download is never taken for the object."""
    local.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=local.parent) as work:
        target = Path(work) / "object"
        for blob in blobs:
            inside = str(blob.name).removeprefix(key).strip("/")
            path = target / inside if inside else target
            if not path.resolve().is_relative_to(target.resolve()):
                raise InputError(f"an object's name leads out of the folder: {blob.name!r}", where=uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            with _message(f"{GS}{blob.bucket.name}/{blob.name}"):
                blob.download_to_filename(str(path), checksum="crc32c")
        if not local.exists():
            target.replace(local)
