"""Read a bundle: one folder a recipe, each with its `variant.json`."""

from __future__ import annotations

from pathlib import Path

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import VARIANT
from litemill.errors import InputError
from litemill.evidence import VariantManifest


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
    """The manifests of a bundle by recipe name, sorted.

    Raises:
        InputError: There is no variant in it, or a manifest cannot be read.
    """
    return {name: read_manifest(folder / VARIANT, VariantManifest) for name, folder in recipe_folders(bundle).items()}
