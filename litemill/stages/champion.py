"""Bring the registry's champion in as a variant beside the others: judged on the same samples, in the same sessions."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from litemill.artifacts.files import staged, write_manifest
from litemill.artifacts.layout import TFLITE, TFLM_TFLITE, VARIANT
from litemill.config.run import CHAMPION
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.variant import VariantManifest
from litemill.stages.inspect import inspect_file
from litemill.track.registry import champion_version, fetch_champion


def champion(
    registered_model: str, *, out: str | Path, version: str | None = None, sha256: str = ""
) -> VariantManifest:
    """Fetch the champion of a registered model as a bundle of one variant.

    Args:
        registered_model: Its name in MLflow's model registry.
        out: Folder of variants to write, with the one recipe `champion`; it must not exist yet.
        version: Version that was looked up before; empty where there was none, None to look it up now.
        sha256: Digest of its `.tflite` where that is on record.

    Returns:
        The manifest; a failed one where there is no champion yet, which `compare` reports as such.

    Raises:
        InputError: The version is not there, or its file cannot be used.
        DamagedFile: Its digest is not the one on record.
        LitemillError: MLflow cannot be used.
    """
    found = champion_version(registered_model) if version is None else _recorded(registered_model, version, sha256)
    with staged(Path(out)) as bundle:
        folder = bundle / CHAMPION
        folder.mkdir()
        manifest = _variant(found, folder) if found.there else _none(found)
        write_manifest(folder / VARIANT, manifest)
    return manifest


def _recorded(name: str, version: str, sha256: str) -> ChampionVersion:
    return ChampionVersion(name=name, version=version, sha256=sha256)


def _none(version: ChampionVersion) -> VariantManifest:
    """What stands for a champion that there is not."""
    return VariantManifest(
        recipe=CHAMPION, steps=[], scheme="", champion=version, status="failed", reason=f"there is {version}"
    )


def _variant(version: ChampionVersion, folder: Path) -> VariantManifest:
    with tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        fetched = fetch_champion(version, Path(scratch))
        shutil.copyfile(fetched.file, folder / TFLITE)
        beside = fetched.file.with_name(TFLM_TFLITE)
        if beside.is_file():
            shutil.copyfile(beside, folder / TFLM_TFLITE)
    found = inspect_file(folder / TFLITE)
    known = fetched.evidence or VariantManifest(recipe=CHAMPION, steps=[], scheme="")
    return known.model_copy(
        update={
            "recipe": CHAMPION,
            "champion": version.model_copy(update={"sha256": found.sha256}),
            "status": "ok",
            "sha256": found.sha256,
            "canonical_sha256": found.canonical_sha256,
            "size_bytes": found.size_bytes,
            "gzip_bytes": found.gzip_bytes,
            "zstd_bytes": found.zstd_bytes,
            "graph": known.graph or found.graph,
            "lut": known.lut if (folder / TFLM_TFLITE).is_file() else None,
        }
    )
