"""Amazon S3 and what speaks its protocol (MinIO, Ceph, R2 …): `s3://bucket/key`.

Credentials, region and endpoint are those of AWS' own client: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`,
`AWS_PROFILE`, a role of the machine or of a service account; `AWS_DEFAULT_REGION`; `AWS_ENDPOINT_URL_S3`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from litemill.artifacts.buckets import TAKEN, BucketStorage, StoredObject
from litemill.errors import InputError, LitemillError, first_line

ABSENT = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NotFound"})
CONFLICT = frozenset({"409", "412", "ConditionalRequestConflict", "PreconditionFailed"})
ELSEWHERE = frozenset({"301", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}) | {
    "PermanentRedirect"
}
"""Codes of a bucket that is in another region than the client asks."""
REFUSED = frozenset({"401", "403"})
BLOCK_BYTES = 1 << 20
PAGE = 1000
"""Objects in one answer of a listing; S3 gives no more."""
SECONDS_TO_CONNECT, SECONDS_TO_ANSWER, TRIES = 10, 60, 3
FIX_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


class S3Storage(BucketStorage):
    """Objects on S3."""

    scheme: ClassVar[str] = "s3"

    @cached_property
    def client(self) -> Any:
        """AWS' client."""
        import boto3
        from botocore.config import Config

        tries = {"mode": "standard", "total_max_attempts": TRIES}
        settings = Config(connect_timeout=SECONDS_TO_CONNECT, read_timeout=SECONDS_TO_ANSWER, retries=tries)
        return boto3.session.Session().client("s3", config=settings)

    @contextmanager
    def errors(self, uri: str) -> Iterator[None]:
        """See `BucketStorage.errors`."""
        from botocore import exceptions

        try:
            yield
        except exceptions.ClientError as error:
            raise _answered(error, uri) from None
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ProfileNotFound,
            exceptions.SSOError,
        ) as error:
            reason = first_line(error).rstrip(".")
            raise InputError(f"no usable AWS credentials: {reason}", where=uri, fix=FIX_CREDENTIALS) from None
        except (exceptions.ParamValidationError, ValueError) as error:
            raise InputError(f"is not an address on S3: {first_line(error)}", where=uri) from None
        except (exceptions.BotoCoreError, OSError) as error:
            raise LitemillError(f"the storage service did not answer: {first_line(error)}", where=uri) from error

    def one(self, bucket: str, key: str) -> StoredObject | None:
        """See `BucketStorage.one`."""
        # A listing and not HEAD, whose answers have no text to tell a missing bucket from a missing object.
        first = self.below(bucket, key, most=1)
        return first[0] if first and first[0].key == key else None

    def below(self, bucket: str, prefix: str, most: int | None = None) -> list[StoredObject]:
        """See `BucketStorage.below`."""
        found: list[StoredObject] = []
        limits = {"MaxItems": most, "PageSize": min(most or PAGE, PAGE)}
        for page in self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig=limits
        ):
            found += [
                StoredObject(bucket, item["Key"], f"{item['ETag']}\0{item['Size']}", item["ETag"])
                for item in page.get("Contents", [])
            ]
        return found

    def download(self, found: StoredObject, path: Path) -> None:
        """See `BucketStorage.download`. An object that was replaced since it was found is an error."""
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_object(Bucket=found.bucket, Key=found.key, IfMatch=found.handle)
        except ClientError as error:
            if str(error.response["Error"]["Code"]) not in CONFLICT:
                raise
            where = f"s3://{found.bucket}/{found.key}"
            raise InputError("was changed while it was read", where=where, fix="Start again") from None
        with path.open("wb") as file:
            for block in answer["Body"].iter_chunks(BLOCK_BYTES):
                file.write(block)

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """See `BucketStorage.upload`."""
        with path.open("rb") as file:
            self.client.put_object(Bucket=bucket, Key=key, Body=file, IfNoneMatch="*")


def _answered(error: Any, uri: str) -> LitemillError:
    """An error that the service answered with."""
    code, status = str(error.response["Error"].get("Code", "")), _status(error)
    if code in ABSENT or status == "404":
        return InputError("no such bucket or object", where=uri)
    if code in CONFLICT:
        return InputError(TAKEN, where=uri)
    if code in ELSEWHERE or status in ELSEWHERE:
        region = error.response["Error"].get("Region") or error.response["ResponseMetadata"].get("HTTPHeaders", {}).get(
            "x-amz-bucket-region", "another region"
        )
        return InputError(f"the bucket is in {region}", where=uri, fix="Set AWS_DEFAULT_REGION to the bucket's region")
    if status in REFUSED:
        fix = "Grant the account in use s3:GetObject, s3:ListBucket and s3:PutObject on it, or check its keys"
        return InputError(f"access refused ({code or status})", where=uri, fix=fix)
    message = error.response["Error"].get("Message") or first_line(error)
    return LitemillError(f"the storage service did not answer: {code}: {message}", where=uri)


def _status(error: Any) -> str:
    return str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
