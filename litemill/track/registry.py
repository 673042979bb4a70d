"""MLflow's model registry: which version of a registered model is the champion, and its file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemill.artifacts.files import read_manifest, sha256_of
from litemill.artifacts.layout import TFLM_TFLITE, VARIANT
from litemill.artifacts.proof import DamagedFile
from litemill.config.run import CHAMPION
from litemill.errors import InputError
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.variant import VariantManifest
from litemill.track.addresses import download
from litemill.track.store import store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHA256 = "litemill.sha256"
"""Tag of a model version: digest of its `.tflite`."""
PAGE = 1000
"""Versions that are asked for at a time."""


@dataclass(frozen=True)
class Champion:
    """A champion's file, fetched.

    Attributes:
        version: Which it is.
        file: Its `.tflite` on this machine.
        evidence: The `variant.json` that was registered with it; None where there is none.
    """

    version: ChampionVersion
    file: Path
    evidence: VariantManifest | None


def champion_version(name: str) -> ChampionVersion:
    """Which version of a registered model is the champion now; one without a version where there is none yet.

    Args:
        name: Of the registered model.

    Raises:
        LitemillError: The store cannot be used.
    """
    with store_errors(f"look up the champion of {name}") as client:
        version = aliases_of(client, name).get(CHAMPION, "")
        if not version:
            return ChampionVersion(name=name)
        digest = client.get_model_version(name, version).tags.get(SHA256, "")
    return ChampionVersion(name=name, version=version, sha256=digest)


def fetch_champion(version: ChampionVersion, into: Path) -> Champion:
    """Fetch the file of a champion.

    Args:
        version: Which, from `champion_version`.
        into: Folder to copy it to; made where it is missing.

    Raises:
        InputError: The version is not there, or does not hold one `.tflite`.
        DamagedFile: Its digest is not the one on record.
        LitemillError: The store cannot be used.
    """
    address = f"models:/{version.name}/{version.version}"
    into.mkdir(parents=True, exist_ok=True)
    place = download(address, Path(tempfile.mkdtemp(dir=into)))
    files = sorted(file for file in place.rglob("*.tflite") if file.name != TFLM_TFLITE)
    if len(files) != 1:
        raise InputError(f"holds {len(files)} .tflite files, a version of the registry holds one", where=address)
    found = sha256_of(files[0])
    if version.sha256 not in ("", found):
        what = f"its file has digest {found[:12]}…, the registry says {version.sha256[:12]}…"
        raise DamagedFile(what, where=address, fix="Register it again from the results that it came from")
    beside = sorted(place.rglob(VARIANT))
    evidence = read_manifest(beside[0], VariantManifest) if beside else None
    return Champion(version, files[0], evidence if evidence and evidence.sha256 == found else None)


def aliases_of(client: MlflowClient, name: str, *, must: bool = False) -> dict[str, str]:
    """Versions of a registered model by alias; nothing where there is no such model.

    Raises:
        InputError: There must be one, and is not.
    """
    from mlflow.exceptions import MlflowException

    try:
        return {str(alias): str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    if must:
        known = ", ".join(sorted(one.name for one in client.search_registered_models(max_results=20))) or "none"
        raise InputError(f"there is no registered model of that name; there are: {known}", where=name)
    return {}


def versions_of(client: MlflowClient, name: str) -> list[Any]:
    """All versions of a registered model, as many pages as they fill."""
    found: list[Any] = []
    page: str | None = None
    while page != "":
        answer = client.search_model_versions(f"name = '{name}'", max_results=PAGE, page_token=page)
        found += answer
        page = answer.token or ""
    return found
