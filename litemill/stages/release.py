"""Publish the winner of a run where devices fetch it from."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from litemill.artifacts.files import read_manifest, sha256_of
from litemill.artifacts.layout import REPORT, RESULTS, SUMMARY, TFLITE, VARIANTS
from litemill.artifacts.proof import check_digest, check_variant
from litemill.artifacts.storage import fetch, publish
from litemill.errors import InputError, StepFailed
from litemill.select.results import Results


def release(results: str | Path, uri: str) -> str:
    """Publish the winner of a run with its evidence, once and for good.

    Args:
        results: Folder with `results.json`, the report and `variants/`, as `run` and `compare` write it.
        uri: Folder, gs:// or s3:// prefix; nothing in it is ever overwritten.

    Returns:
        Address of the release; where the same file was released before, that address.

    Raises:
        StepFailed: No variant won, so there is nothing to release.
        InputError: Something else is at the address, or access is refused.
    """
    return release_winner(Path(results), uri)


def release_winner(results: Path, uri: str) -> str:
    """Publish the winning variant with its evidence, the report and the results.

    The release is named after the recipe and the digest of its file, so the same winner has the same address and
    another one never overwrites it.

    Args:
        results: Folder with `results.json`, the report and `variants/`.
        uri: Folder, gs:// or s3:// prefix.

    Returns:
        Address of the release; where the same file was released before, that address.

    Raises:
        StepFailed: No variant won, so there is nothing to release.
        DamagedFile: The winner's file is not the one that was judged.
        InputError: Something else is at the address, or access is refused.
    """
    found = read_manifest(results / RESULTS, Results)
    winner = next((variant for variant in found.variants if variant.recipe == found.winner), None)
    if winner is None:
        raise StepFailed("no variant met the budget, so there is nothing to release", where=str(results))
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / "release"
        shutil.copytree(results / VARIANTS / winner.recipe, folder)
        check_digest(folder / TFLITE, winner.sha256)
        check_variant(folder)
        for name in (RESULTS, REPORT, SUMMARY):
            shutil.copyfile(results / name, folder / name)
        name = f"{found.name}-{winner.recipe}-{winner.sha256[:12]}"
        try:
            return publish(folder, uri, name)
        except InputError:
            # A nightly run that finds the same winner again has nothing to publish; anything else there is an error.
            place = f"{uri.rstrip('/')}/{name}"
            if not _holds(place, winner.sha256):
                raise
            return place


def _holds(place: str, sha256: str) -> bool:
    """Whether a release with this very file is at an address."""
    try:
        return sha256_of(fetch(f"{place}/{TFLITE}")) == sha256
    except (InputError, OSError):
        return False
