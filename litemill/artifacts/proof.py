"""Is a `.tflite` still the file that its manifest speaks of? Asked wherever one is taken from a place and passed on."""

from __future__ import annotations

from pathlib import Path

from litemill.artifacts.files import read_manifest, sha256_of
from litemill.artifacts.layout import TFLITE, TFLM_TFLITE, VARIANT
from litemill.errors import LitemillError
from litemill.evidence.variant import VariantManifest


class DamagedFile(LitemillError):
    """A file is not what its manifest says: it must not be used, and what made it has to run again."""


def check_variant(folder: Path) -> VariantManifest:
    """Read a variant's manifest and hold its file against it.

    Args:
        folder: With `variant.json` and, unless the recipe failed, `model.tflite`, and the file for microcontrollers
            that the manifest speaks of.

    Raises:
        DamagedFile: There is no such file, or its digest is another.
        InputError: The manifest cannot be read.
    """
    manifest = read_manifest(folder / VARIANT, VariantManifest)
    if manifest.status == "ok":
        check_files(folder, manifest)
    return manifest


def check_files(folder: Path, manifest: VariantManifest) -> None:
    """Hold a variant's files against its manifest.

    Raises:
        DamagedFile: One is not there, or its digest is another.
    """
    check_digest(folder / TFLITE, manifest.sha256)
    if manifest.lut and manifest.lut.applied:
        check_digest(folder / TFLM_TFLITE, manifest.lut.sha256)


def check_digest(file: Path, sha256: str) -> None:
    """Hold a file against its digest.

    Raises:
        DamagedFile: It is not there, or its digest is another.
    """
    fix = "It was changed or damaged after it was made: remove it and run again"
    if not file.is_file():
        raise DamagedFile("is missing beside its manifest", where=str(file), fix=fix)
    found = sha256_of(file)
    if found != sha256:
        raise DamagedFile(
            f"has digest {found[:12]}…, its manifest says {sha256[:12] or 'none'}…", where=str(file), fix=fix
        )


def check_bundles(folder: Path) -> None:
    """Hold every variant below a folder against its manifest.

    Raises:
        DamagedFile: The first that differs.
        InputError: A manifest cannot be read.
    """
    for manifest in sorted(folder.rglob(VARIANT)):
        check_variant(manifest.parent)
