"""Read candidates from what the tasks left, and lay their files out as in the output folder of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from litemill.artifacts.bundle import recipe_folders
from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import (
    EVALUATION,
    MEASUREMENT,
    MEASUREMENTS,
    PROBE,
    SAMPLES,
    TFLITE,
    TFLM_TFLITE,
    VARIANT,
    VARIANTS,
    measurement_name,
)
from litemill.artifacts.proof import check_variant
from litemill.errors import InputError
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.variant import VariantManifest
from litemill.select.candidate import Candidate

Found = TypeVar("Found", Evaluation, Measurement)


def read_candidates(variants: Path, evaluation: Path, measurements: Sequence[Path]) -> list[Candidate]:
    """Read the candidates of a bundle; evaluations and measurements may be missing.

    Args:
        variants: A folder a recipe with `variant.json` and, unless it failed, `model.tflite`.
        evaluation: A folder a recipe with `evaluation.json`, `samples.npz` and `probe.npz`.
        measurements: A folder a target: in it a folder a recipe with `measurement.json`.

    Raises:
        InputError: The bundle holds no variant, a manifest cannot be read, or speaks of another file.
        DamagedFile: A `.tflite` is not the one its manifest speaks of.
    """
    return [_read(folder, evaluation, measurements) for folder in recipe_folders(variants).values()]


def _read(folder: Path, evaluation: Path, measurements: Sequence[Path]) -> Candidate:
    recipe = folder.name
    evaluated = evaluation / recipe
    files = [place / recipe / MEASUREMENT for place in measurements]
    variant = check_variant(folder)
    return Candidate(
        variant=variant,
        evaluation=_evaluation(evaluated, variant),
        measurements=_by_target((file for file in files if file.exists()), variant),
        files=[*_own(folder), evaluated / EVALUATION, evaluated / SAMPLES, evaluated / PROBE],
    )


def read_candidate(folder: Path) -> Candidate:
    """Read what is known about one recipe from one folder.

    Args:
        folder: Holds `variant.json` and, where they were made, `evaluation.json` and `measurement.<target>.json`.

    Raises:
        InputError: A manifest is missing or broken, or speaks of another file.
    """
    variant = read_manifest(folder / VARIANT, VariantManifest)
    return Candidate(
        variant=variant,
        evaluation=_evaluation(folder, variant),
        measurements=_by_target(sorted(folder.glob(MEASUREMENTS)), variant),
        files=[*_own(folder), folder / EVALUATION, folder / SAMPLES, folder / PROBE],
    )


def _own(folder: Path) -> list[Path]:
    """The files that a conversion left of a variant."""
    return [folder / name for name in (VARIANT, TFLITE, TFLM_TFLITE)]


def read_run(folder: Path) -> list[Candidate]:
    """The candidates in the output folder of a run, by name.

    Raises:
        InputError: A manifest is missing or broken.
    """
    return [read_candidate(file.parent) for file in sorted(folder.glob(f"{VARIANTS}/*/{VARIANT}"))]


def lay_out(
    candidate: Candidate, folder: Path, *, samples: bool = False, copy: Callable[[Path, Path], Any] = shutil.copyfile
) -> Path:
    """Gather a candidate's files in one new folder, as in the output folder of a run.

    Args:
        candidate: As it was read.
        folder: To make.
        samples: Whether the outcome for each sample comes along.
        copy: How a file gets there.
    """
    folder.mkdir(parents=True)
    for file in candidate.files:
        if file.exists() and (samples or file.name != SAMPLES):
            copy(file, folder / file.name)
    for target, measurement in candidate.measurements.items():
        text = measurement.model_dump_json(indent=2) + "\n"
        (folder / measurement_name(target)).write_text(text, encoding="utf-8")
    return folder


def _evaluation(folder: Path, variant: VariantManifest) -> Evaluation | None:
    file = folder / EVALUATION
    return _of_this_file(read_manifest(file, Evaluation), variant, file) if file.exists() else None


def _by_target(files: Iterable[Path], variant: VariantManifest) -> dict[str, Measurement]:
    found = [_of_this_file(read_manifest(file, Measurement), variant, file) for file in files]
    return {item.target: item for item in found}


def _of_this_file(found: Found, variant: VariantManifest, file: Path) -> Found:
    """Evidence, if it is about the file that the variant's manifest speaks of.

    Raises:
        InputError: It is about another one: the variant was converted anew since.
    """
    if found.sha256 and variant.sha256 and found.sha256 != variant.sha256:
        raise InputError(
            f"is about a file with digest {found.sha256[:12]}…, {VARIANT} about one with {variant.sha256[:12]}…",
            where=str(file),
            fix="Evaluate and benchmark the variants as they are now",
        )
    return found
