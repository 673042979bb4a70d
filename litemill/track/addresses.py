"""Files kept in MLflow, by address: `models:/name@alias`, `models:/name/version`, `runs:/<run id>/path`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from litemill.artifacts.storage import Found
from litemill.errors import InputError, first_line
from litemill.redact import redact
from litemill.track.store import SQLITE, TRACKING_URI, store_errors, tracking_uri

ADDRESS = re.compile(
    r"models:/+(?P<model>[^/@:]+)(@(?P<alias>[^/@:]+)|/(?P<version>\d+))(?P<inside>/.+)?"
    r"|models:/+(?P<logged>m-[0-9a-f]+)(/.+)?"
    r"|runs:/+(?P<run>\w+)/.+"
)
FORMS = "models:/<name>@<alias>, models:/<name>/<version>, models:/<model id> or runs:/<run id>/<path>"
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for a model, version, alias, run or path that there isn't."""


class MlflowStorage:
    """Files in MLflow (see `litemill.artifacts.storage.Storage`), which knows no digest of them."""

    def resolve(self, uri: str) -> str:
        """See `Storage.resolve`."""
        return resolve(uri)

    def find(self, uri: str) -> Found:
        """See `Storage.find`."""
        return Found("", partial(download, uri))

    def publish(self, folder: Path, place: str) -> None:
        """See `Storage.publish`: models are registered and not published."""
        raise InputError("is not a place to publish to", where=place)


def resolve(uri: str) -> str:
    """The address of what `uri` means now: an alias becomes the version it points to, all else stays as it is.

    Raises:
        InputError: No such address, model, alias or store.
        LitemillError: The store does not answer.
    """
    parts = _parse(uri)
    model, alias = parts["model"], parts["alias"]
    if not model or not alias:
        return uri
    with store_errors(f"look up {uri}") as client, _absent_told(uri):
        known = client.get_registered_model(model).aliases
    if alias not in known:
        has = ", ".join(f"{name} (version {version})" for name, version in sorted(known.items())) or "none"
        raise InputError(f"model {model!r} has no alias {alias!r}; it has {has}", where=uri)
    return f"models:/{model}/{known[alias]}{parts['inside'] or ''}"


def download(uri: str, into: Path) -> Path:
    """Copy the file or folder at an address into a folder.

    Returns:
        Where it is, below `into`.

    Raises:
        InputError: No such address, model, version, run, path or store.
        LitemillError: The store does not answer.
    """
    address = resolve(uri)
    with store_errors(f"fetch {uri}"), _absent_told(uri):
        from mlflow.artifacts import download_artifacts

        place = tracking_uri()
        return Path(
            download_artifacts(artifact_uri=address, dst_path=str(into), tracking_uri=place, registry_uri=place)
        )


def _parse(uri: str) -> dict[str, str | None]:
    """The parts of an address, from a store that is there: MLflow makes an empty one otherwise, and takes seconds."""
    found = ADDRESS.fullmatch(uri)
    if found is None:
        raise InputError(f"is no address of a file in MLflow: {FORMS}", where=uri)
    place = tracking_uri()
    if place.startswith(SQLITE) and not Path(place.removeprefix(SQLITE).partition("?")[0]).is_file():
        fix = f"Set {TRACKING_URI} to the address of your MLflow"
        raise InputError(f"there is no MLflow store at {redact(place)}", where=uri, fix=fix)
    return found.groupdict()


@contextmanager
def _absent_told(uri: str) -> Iterator[None]:
    """Say that something isn't there as what it is: a wrong address."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        message = first_line(redact(str(error))).rstrip(".")
        raise InputError(f"is not in MLflow at {redact(tracking_uri())}: {message}", where=uri) from None
