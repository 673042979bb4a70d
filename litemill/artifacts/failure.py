"""An artifact that is missing because its task failed: the folder says so, and later steps name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import FAILURE, VARIANT
from litemill.config.steps import Step
from litemill.evidence.failure import Failure
from litemill.evidence.variant import VariantManifest


def leave_failure(folder: Path, task: str, reason: str) -> Failure:
    """Leave the reason in the place of an artifact.

    Args:
        folder: Where the task's artifact should be; made where it is not there.
        task: Name of the task.
        reason: Its true error, one line.
    """
    failure = Failure(task=task, reason=reason)
    write_manifest(folder / FAILURE, failure)
    return failure


def leave_failed_variants(
    bundle: Path, recipes: Mapping[str, Sequence[Step | Mapping[str, Any]]], reason: str, *, seed: int
) -> None:
    """Leave the reason in the place of a bundle's variants.

    Args:
        bundle: Where they should be: a folder a recipe is made.
        recipes: The steps of each recipe, as records or as the config has them.
        reason: Why there is no variant.
        seed: Of the run.
    """
    for recipe, steps in recipes.items():
        parsed = [Step.model_validate(step) for step in steps]
        failed = VariantManifest(
            recipe=recipe,
            steps=[step.name for step in parsed],
            scheme=parsed[-1].name,
            options=parsed[-1].parsed().model_dump(mode="json"),
            status="failed",
            reason=reason,
            seed=seed,
        )
        write_manifest(bundle / recipe / VARIANT, failed)


def failure_of(folder: Path | None) -> Failure | None:
    """Why a folder holds no artifact, or None where it may hold one.

    Raises:
        InputError: Its `failure.json` cannot be read.
    """
    if folder is None or not (folder / FAILURE).is_file():
        return None
    return read_manifest(folder / FAILURE, Failure)
