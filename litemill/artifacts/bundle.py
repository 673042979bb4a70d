"""Read a bundle: one folder a recipe, each with its `variant.json`."""

from __future__ import annotations

from pathlib import Path

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import TFLITE, VARIANT
from litemill.artifacts.proof import DamagedFile, check_files
from litemill.errors import InputError
from litemill.evidence.variant import VariantManifest


def recipe_folders(bundle: Path) -> dict[str, Path]:
    """The folder of each recipe by its name, sorted.

    Raises:
        InputError: There is no variant in it.
    """
    found = {file.parent.name: file.parent for file in sorted(bundle.glob(f"*/{VARIANT}"))}
    if not found:
        raise InputError("holds no variants", where=str(bundle), fix=f"A bundle has one folder a recipe with {VARIANT}")
    return found


def read_bundle(bundle: Path) -> dict[str, VariantManifest]:
    """The manifests of a bundle by recipe name, sorted, to work with its files.

    A `.tflite` that is not the one its manifest speaks of must not be used: its recipe counts as failed, and says why.

    Raises:
        InputError: There is no variant in it, or a manifest cannot be read.
    """
    return {name: _usable(folder) for name, folder in recipe_folders(bundle).items()}


def _usable(folder: Path) -> VariantManifest:
    manifest = read_manifest(folder / VARIANT, VariantManifest)
    if manifest.status == "ok" and (folder / TFLITE).is_file():
        try:
            check_files(folder, manifest)
        except DamagedFile as damage:
            return manifest.model_copy(update={"status": "failed", "reason": str(damage)})
    return manifest
