"""Read candidates from what the tasks left, and lay their files out as in the output folder of a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from litemill.artifacts.bundle import recipe_folders
from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import (
    EVALUATION,
    MEASUREMENT,
    MEASUREMENTS,
    SAMPLES,
    TFLITE,
    VARIANT,
    VARIANTS,
    measurement_name,
)
from litemill.artifacts.proof import check_variant
from litemill.evidence import Evaluation, Measurement, VariantManifest
from litemill.select.candidate import Candidate


def read_candidates(variants: Path, evaluation: Path, measurements: Sequence[Path]) -> list[Candidate]:
    """Read the candidates of a bundle; evaluations and measurements may be missing.

    Args:
        variants: A folder a recipe with `variant.json` and, unless it failed, `model.tflite`.
        evaluation: A folder a recipe with `evaluation.json` and `samples.npz`.
        measurements: A folder a target: in it a folder a recipe with `measurement.json`.

    Raises:
        InputError: The bundle holds no variant, or a manifest cannot be read.
        DamagedFile: A `.tflite` is not the one its manifest speaks of.
    """
    return [_read(folder, evaluation, measurements) for folder in recipe_folders(variants).values()]


def _read(folder: Path, evaluation: Path, measurements: Sequence[Path]) -> Candidate:
    recipe = folder.name
    evaluated = evaluation / recipe
    files = [place / recipe / MEASUREMENT for place in measurements]
    return Candidate(
        variant=check_variant(folder),
        evaluation=_evaluation(evaluated),
        measurements=_by_target(file for file in files if file.exists()),
        files=[folder / VARIANT, folder / TFLITE, evaluated / EVALUATION, evaluated / SAMPLES],
    )


def read_candidate(folder: Path) -> Candidate:
    """Read what is known about one recipe from one folder.

    Args:
        folder: Holds `variant.json` and, where they were made, `evaluation.json` and `measurement.<target>.json`.

    Raises:
        InputError: A manifest is missing or broken.
    """
    return Candidate(
        variant=read_manifest(folder / VARIANT, VariantManifest),
        evaluation=_evaluation(folder),
        measurements=_by_target(sorted(folder.glob(MEASUREMENTS))),
        files=[folder / VARIANT, folder / TFLITE, folder / EVALUATION, folder / SAMPLES],
    )


def read_run(folder: Path) -> list[Candidate]:
    """The candidates in the output folder of a run, by name.

    Raises:
        InputError: A manifest is missing or broken.
    """
    return [read_candidate(file.parent) for file in sorted(folder.glob(f"{VARIANTS}/*/{VARIANT}"))]


def lay_out(candidate: Candidate, folder: Path, *, samples: bool = False) -> Path:
    """Gather a candidate's files in one new folder, as in the output folder of a run.

    Args:
        candidate: As it was read.
        folder: To make.
        samples: Whether the outcome for each sample comes along.
    """
    folder.mkdir(parents=True)
    for file in candidate.files:
        if file.exists() and (samples or file.name != SAMPLES):
            shutil.copyfile(file, folder / file.name)
    for target, measurement in candidate.measurements.items():
        text = measurement.model_dump_json(indent=2) + "\n"
        (folder / measurement_name(target)).write_text(text, encoding="utf-8")
    return folder


def _evaluation(folder: Path) -> Evaluation | None:
    return read_manifest(folder / EVALUATION, Evaluation) if (folder / EVALUATION).exists() else None


def _by_target(files: Iterable[Path]) -> dict[str, Measurement]:
    found = [read_manifest(file, Measurement) for file in files]
    return {item.target: item for item in found}
