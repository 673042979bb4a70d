"""Publish the winner of a run where devices fetch it from."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from litemill.artifacts import read_manifest
from litemill.errors import StepFailed
from litemill.layout import REPORT, RESULTS, SUMMARY
from litemill.results import Results
from litemill.storage import publish


def release_winner(results: Path, uri: str) -> str:
    """Publish the winning variant with its evidence, the report and the results.

    The release is named after the recipe and the digest of its file, so the same winner has the same address and
    another one never overwrites it.

    Args:
        results: Folder with `results.json`, the report and `variants/`.
        uri: Folder or gs:// prefix.

    Returns:
        Address of the release.

    Raises:
        StepFailed: No variant won, so there is nothing to release.
    """
    found = read_manifest(results / RESULTS, Results)
    winner = next((variant for variant in found.variants if variant.recipe == found.winner), None)
    if winner is None:
        raise StepFailed("no variant met the budget, so there is nothing to release", where=str(results))
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / "release"
        shutil.copytree(results / "variants" / winner.recipe, folder)
        for name in (RESULTS, REPORT, SUMMARY):
            shutil.copyfile(results / name, folder / name)
        return publish(folder, uri, f"{found.name}-{winner.recipe}-{winner.sha256[:12]}")
