"""Google Cloud Storage: `gs://bucket/key`.

Credentials are Google's own: `GOOGLE_APPLICATION_CREDENTIALS`, workload identity, or gcloud's default;
`STORAGE_EMULATOR_HOST` points the client at an emulator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from litemill.artifacts.buckets import TAKEN, BucketStorage, StoredObject
from litemill.errors import InputError, LitemillError, first_line

CHUNK_BYTES = 8 << 20


class GoogleStorage(BucketStorage):
    """Objects on Google Cloud Storage."""

    scheme: ClassVar[str] = "gs"

    @cached_property
    def client(self) -> Any:
        """Google's client; anonymous when only an emulator is addressed."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        if os.environ.get("STORAGE_EMULATOR_HOST"):
            return storage.Client(project="emulator", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        return storage.Client()

    @contextmanager
    def errors(self, uri: str) -> Iterator[None]:
        """See `BucketStorage.errors`."""
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except exceptions.NotFound:
            raise InputError("no such bucket or object", where=uri) from None
        except exceptions.PreconditionFailed:
            raise InputError(TAKEN, where=uri) from None
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            fix = "Grant the account in use storage.objects.get/list/create on it"
            raise InputError(f"access refused ({error.code})", where=uri, fix=fix) from None
        except GoogleAuthError as error:
            fix = "Set GOOGLE_APPLICATION_CREDENTIALS or run gcloud auth application-default login"
            reason = str(error).rstrip(".")
            raise InputError(f"no usable Google credentials: {reason}", where=uri, fix=fix) from None
        except (exceptions.GoogleAPICallError, exceptions.RetryError, OSError) as error:
            raise LitemillError(f"the storage service did not answer: {first_line(error)}", where=uri) from error

    def one(self, bucket: str, key: str) -> StoredObject | None:
        """See `BucketStorage.one`."""
        blob = self.client.bucket(bucket).get_blob(key)
        return _stored(blob) if blob else None

    def below(self, bucket: str, prefix: str, most: int | None = None) -> list[StoredObject]:
        """See `BucketStorage.below`."""
        return [_stored(blob) for blob in self.client.list_blobs(bucket, prefix=prefix or None, max_results=most)]

    def download(self, found: StoredObject, path: Path) -> None:
        """See `BucketStorage.download`."""
        found.handle.download_to_filename(str(path), checksum="crc32c")

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """See `BucketStorage.upload`."""
        blob = self.client.bucket(bucket).blob(key, chunk_size=CHUNK_BYTES)
        blob.upload_from_filename(str(path), if_generation_match=0)


def _stored(blob: Any) -> StoredObject:
    version = f"{blob.generation}\0{blob.md5_hash}\0{blob.crc32c}\0{blob.size}"
    return StoredObject(blob.bucket.name, str(blob.name), version, blob)
