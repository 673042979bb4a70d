"""Put a release together in a local folder: the winner, its evidence, and what is written from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litemill import __version__
from litemill.artifacts.files import read_manifest, write_manifest, write_text
from litemill.artifacts.layout import PROBE, REPORT, RESULTS, SAMPLES, SUMMARY, TFLITE, TFLM_TFLITE, VARIANTS
from litemill.artifacts.proof import check_digest, check_variant
from litemill.errors import StepFailed
from litemill.select import Candidate
from litemill.select.evidence_folders import read_candidate
from litemill.select.results import Results, VariantResult
from litemill.shipping.bom import bill
from litemill.shipping.card import model_card
from litemill.shipping.manifest import (
    BOM,
    CARD,
    PUBLIC_KEY,
    RELEASE,
    SUMS,
    UNSUMMED,
    Digests,
    Found,
    Release,
    Tables,
    digests_of,
    written_sums,
)
from litemill.shipping.pack import pack
from litemill.shipping.signature import fingerprint, private_key, public_pem, sign


@dataclass(frozen=True)
class Wishes:
    """What a config says of a release.

    Attributes:
        intended_use: What the model is for, in the user's own words.
        sign_with: Variable of the environment with the signing key; no signature without it.
        samples: Test samples that are kept with it, so that whoever gets it can ask the file again.
    """

    intended_use: str = ""
    sign_with: str = ""
    samples: int = 16


def build(results: Path, folder: Path, wishes: Wishes) -> Release:
    """Write the release of a run's winner into a folder.

    Args:
        results: Folder with `results.json`, the report and `variants/`.
        folder: To write; it must not exist yet.
        wishes: What the config says of it.

    Raises:
        StepFailed: No variant won, so there is nothing to release.
        DamagedFile: The winner's file is not the one that was judged.
        ConfigError: The signing key cannot be used.
    """
    found = read_manifest(results / RESULTS, Results)
    winner = next((variant for variant in found.variants if variant.recipe == found.winner), None)
    if winner is None:
        raise StepFailed("no variant met the budget, so there is nothing to release", where=str(results))
    key = private_key(wishes.sign_with) if wishes.sign_with else None
    shutil.copytree(results / VARIANTS / winner.recipe, folder, ignore=shutil.ignore_patterns(SAMPLES))
    check_digest(folder / TFLITE, winner.sha256)
    if not Tables.of(check_variant(folder).lut):
        (folder / TFLM_TFLITE).unlink(missing_ok=True)
    for name in (RESULTS, REPORT, SUMMARY):
        shutil.copyfile(results / name, folder / name)
    _cut_probe(folder / PROBE, wishes.samples)
    release = _described(found, winner, read_candidate(folder), wishes)
    if key:
        (folder / PUBLIC_KEY).write_bytes(public_pem(key))
        release.signer = fingerprint(public_pem(key))
    for name, text in (sources := pack(folder, release)).items():
        write_text(folder / name, text)
    release.pack = sorted(sources)
    write_text(folder / CARD, model_card(release))
    write_text(folder / BOM, json.dumps(bill(release), indent=2) + "\n")
    release.files = digests_of(folder, without=(RELEASE, *UNSUMMED))
    write_manifest(folder / RELEASE, release)
    write_text(folder / SUMS, written_sums(digests_of(folder, without=UNSUMMED)))
    if key:
        sign(folder, release_name(release), key)
    return release


def release_name(release: Release) -> str:
    """What a release's folder is called: the same file has the same name, and another one never has it."""
    return f"{release.name}-{release.recipe}-{release.sha256[:12]}"


def _described(results: Results, row: VariantResult, winner: Candidate, wishes: Wishes) -> Release:
    variant, evaluation = winner.variant, winner.evaluation
    if evaluation is None:
        raise StepFailed("was not evaluated, so nothing is known of it", where=winner.recipe)
    medians = {target: one.latency_ms["p50"] for target, one in winner.measurements.items() if "p50" in one.latency_ms}
    return Release(
        name=results.name,
        recipe=winner.recipe,
        steps=variant.steps,
        options=variant.options,
        train_steps=variant.train_steps,
        seed=variant.seed,
        sha256=variant.sha256,
        size_bytes=variant.size_bytes,
        tables=Tables.of(variant.lut),
        data=Digests(model=variant.model_sha256, calibration=variant.data_sha256, test=evaluation.data_sha256),
        evidence=Found(
            metric=evaluation.metric,
            value=evaluation.value,
            drop=evaluation.drop,
            samples=evaluation.samples,
            per_class_metric=evaluation.per_class_metric,
            per_class=evaluation.per_class,
            latency_ms=medians,
            verdict=row.verdict,
            reason=results.reason,
        ),
        interface=evaluation.interface,
        intended_use=wishes.intended_use,
        versions=variant.versions | (variant.lut.versions if variant.lut else {}),
        litemill=__version__,
        mlflow_run_id=results.mlflow_run_id,
    )


def _cut_probe(file: Path, most: int) -> None:
    """Keep as many test samples as the config allows; the data may not be the public's."""
    if not file.is_file():
        return
    if most == 0:
        file.unlink()
        return
    with np.load(file, allow_pickle=False) as probe:
        kept = {name: probe[name][:most] for name in probe.files}
    np.savez_compressed(file, **kept)
