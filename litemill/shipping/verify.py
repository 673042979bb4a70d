"""Check a release from end to end, without a network: digests, signature, evidence, and the file's own answers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from litemill import __version__
from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import (
    EVALUATION,
    MEASUREMENTS,
    PROBE,
    REPORT,
    RESULTS,
    SUMMARY,
    TFLITE,
    TFLM_TFLITE,
    VARIANT,
)
from litemill.config.data_kinds import Kernels
from litemill.errors import InputError, StepFailed
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.variant import VariantManifest
from litemill.process.contained import contained
from litemill.runtime.runner import Runner
from litemill.select.results import Results
from litemill.shipping.bom import bill
from litemill.shipping.card import model_card
from litemill.shipping.manifest import (
    BOM,
    CARD,
    PUBLIC_KEY,
    RELEASE,
    SIGNATURE,
    SUMS,
    UNSUMMED,
    Release,
    Tables,
    Tampered,
    digests_of,
    read_sums,
)
from litemill.shipping.pack import pack
from litemill.shipping.signature import check_signature, fingerprint
from litemill.slim.equivalence import prove_tflm

SPREAD = 0.02
"""How far an answer may be from the recorded one, in parts of the spread of all recorded answers: other processors
round otherwise, and an int8 file then answers a step or two of its quantization aside."""


class Verified(BaseModel):
    """What was checked, and holds."""

    name: str
    recipe: str
    sha256: str
    files: int
    signed_by: str = Field("", description="SHA-256 of the signer's public key; empty where it is not signed")
    trusted: bool = Field(False, description="whether the signature was checked with a key that was given")
    samples: int = Field(0, description="kept samples that the file answered as the evidence says")
    tables: str = Field(
        "", description="outcome of comparing the file for microcontrollers in TFLM; empty where there is none"
    )


def verify_folder(folder: Path, key: bytes | None = None) -> Verified:
    """Check a release in a local folder.

    Args:
        folder: The release.
        key: Public key (PEM) of who must have signed it. Without it a signature is checked with the key that lies
            beside it: that shows damage, and not who signed.

    Raises:
        Tampered: Names the file that is not as it was released, and why.
        InputError: There is no release.
    """
    if not (folder / RELEASE).is_file() and not (folder / SUMS).is_file():
        raise InputError(f"is not a release: it has neither {RELEASE} nor {SUMS}", where=str(folder))
    digests = _check_sums(folder)
    release = _read(folder / RELEASE, Release)
    _check_listed(folder, release, digests)
    _check_signed(folder, release, key)
    _check_evidence(folder, release, digests[TFLITE])
    _check_written(folder, release)
    return Verified(
        name=release.name,
        recipe=release.recipe,
        sha256=release.sha256,
        files=len(digests) + 1 + bool(release.signer),
        signed_by=release.signer,
        trusted=key is not None,
        samples=_check_answers(folder),
        tables=_check_tables(folder) if release.tables else "",
    )


def _check_sums(folder: Path) -> dict[str, str]:
    """Hold every file against `SHA256SUMS`; returns the digests."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Tampered("is not a plain file", where=str(path))
    sums = folder / SUMS
    if not sums.is_file():
        raise Tampered("is missing", where=str(sums))
    try:
        expected = read_sums(sums.read_text(encoding="utf-8"), str(sums))
    except UnicodeDecodeError:
        raise Tampered("is not a text", where=str(sums)) from None
    found, witness = digests_of(folder, without=UNSUMMED), _witness(folder)
    for name in sorted({*expected, *found}):
        where = str(folder / name)
        if (
            expected.get(name) != found.get(name)
            and name != RELEASE
            and witness
            and witness.get(name) == found.get(name)
        ):
            raise Tampered(f"was changed: what it says of {name[:80]!r} is not what {RELEASE} says", where=str(sums))
        if name not in found:
            raise Tampered(f"is missing: {SUMS} names it", where=where)
        if name not in expected:
            raise Tampered(f"does not belong to the release: {SUMS} does not name it", where=where)
        if expected[name] != found[name]:
            raise Tampered(f"was changed: its digest is not the one in {SUMS}", where=where)
    for name in (RELEASE, TFLITE, VARIANT, EVALUATION, RESULTS, REPORT, SUMMARY, CARD, BOM):
        if name not in found:
            raise Tampered("is missing", where=str(folder / name))
    return found


def _witness(folder: Path) -> dict[str, str]:
    """The digests in `release.json`, as far as it can be read: where they agree with the files, the sums are wrong."""
    try:
        return read_manifest(folder / RELEASE, Release).files
    except InputError:
        return {}


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        return read_manifest(path, kind)
    except InputError as error:
        raise Tampered(error.what, where=str(path)) from None


def _check_listed(folder: Path, release: Release, digests: dict[str, str]) -> None:
    """Hold the files against `release.json`, too: a new `SHA256SUMS` alone makes no release."""
    others = {name: digest for name, digest in digests.items() if name != RELEASE}
    for name in sorted({*others, *release.files}):
        if release.files.get(name) != others.get(name):
            raise Tampered(f"is not the file that {RELEASE} names", where=str(folder / name))
    if release.sha256 != digests[TFLITE]:
        raise Tampered(f"is not the model that {RELEASE} is about", where=str(folder / TFLITE))
    if (release.tables.sha256 if release.tables else None) != digests.get(TFLM_TFLITE):
        raise Tampered(f"is not the file for microcontrollers that {RELEASE} names", where=str(folder / TFLM_TFLITE))


def _check_signed(folder: Path, release: Release, key: bytes | None) -> None:
    present = (folder / SIGNATURE).is_file()
    if release.signer and not present:
        raise Tampered(f"is missing: {RELEASE} says that it is signed", where=str(folder / SIGNATURE))
    if not release.signer and present:
        raise Tampered(f"does not belong to the release: {RELEASE} says that it is not signed", where=str(folder))
    if not release.signer:
        if key is not None:
            raise Tampered("is not signed, and a signer's key was given", where=str(folder))
        return
    beside = folder / PUBLIC_KEY
    if not beside.is_file() or fingerprint(beside.read_bytes()) != release.signer:
        raise Tampered(f"is not the key that {RELEASE} names", where=str(beside))
    check_signature(folder, beside.read_bytes() if key is None else key)


def _check_evidence(folder: Path, release: Release, sha256: str) -> None:
    """The evidence is of this very file, of this recipe, and of the data that the release names."""
    variant = _read(folder / VARIANT, VariantManifest)
    evaluation = _read(folder / EVALUATION, Evaluation)
    results = _read(folder / RESULTS, Results)
    row = next((one for one in results.variants if one.recipe == release.recipe), None)
    measured = [(file, _read(file, Measurement)) for file in sorted(folder.glob(MEASUREMENTS))]
    for file, known, of in [
        (VARIANT, variant.sha256, variant.recipe),
        (EVALUATION, evaluation.sha256, evaluation.recipe),
        (RESULTS, row.sha256 if row else "", results.winner),
        *((file.name, one.sha256 or sha256, one.recipe) for file, one in measured),
    ]:
        if known != sha256:
            what = f"is about another file: {known[:12] or 'none'}…, not {sha256[:12]}…"
            raise Tampered(what, where=str(folder / file))
        if of != release.recipe:
            raise Tampered(f"is about the recipe {of!r}, not {release.recipe!r}", where=str(folder / file))
    if release.tables != Tables.of(variant.lut):
        raise Tampered(f"what it says of {TFLM_TFLITE} is not that of {RELEASE}", where=str(folder / VARIANT))
    figures = release.evidence
    told: list[tuple[str, object, object, str]] = [
        (EVALUATION, evaluation.data_sha256, release.data.test, "the digest of the test samples"),
        (VARIANT, variant.data_sha256, release.data.calibration, "the digest of the calibration samples"),
        (VARIANT, variant.model_sha256, release.data.model, "the digest of the source model"),
        (VARIANT, variant.steps, release.steps, "the steps"),
        (EVALUATION, evaluation.interface, release.interface, "the preprocessing, or the labels"),
        (EVALUATION, (evaluation.value, evaluation.samples), (figures.value, figures.samples), "the metric"),
        (EVALUATION, evaluation.drop, figures.drop, "the drop"),
        (RESULTS, row.accuracy if row else None, figures.value, "the metric"),
        (RESULTS, results.name, release.name, "the name"),
    ]
    for file, known, expected, what in told:
        if known != expected:
            raise Tampered(f"{what} in it is not that of {RELEASE}", where=str(folder / file))


def _check_written(folder: Path, release: Release) -> None:
    """Card, bill, sources and report are those of this release: all but the last are written again and compared."""
    written = {CARD: model_card(release), BOM: json.dumps(bill(release), indent=2) + "\n"}
    if release.litemill == __version__:  # another version writes other sources
        sources = pack(folder, release)
        if sorted(sources) != release.pack:
            raise Tampered("names other sources than the evidence gives", where=str(folder / RELEASE))
        written |= sources
    for name, text in written.items():
        same = name in release.files and (folder / name).read_text(encoding="utf-8", errors="replace") == text
        if not same and release.schema_version == 1:
            raise Tampered(f"does not say what {RELEASE} says", where=str(folder / name))
    for name in (REPORT, SUMMARY):
        if release.sha256 not in (folder / name).read_text(encoding="utf-8", errors="replace"):
            raise Tampered("is the report of another file", where=str(folder / name))


def _check_answers(folder: Path) -> int:
    """The file answers the kept samples as the evidence says; returns how many there are."""
    file, probe = folder / TFLITE, folder / PROBE
    evaluation = _read(folder / EVALUATION, Evaluation)
    kernels = evaluation.kernels
    output = evaluation.interface.output if evaluation.interface else ""
    asked = str(probe) if probe.is_file() else ""
    try:
        found: int = contained(f"{__name__}:answers", str(file), asked, kernels, output, where=str(file))
    except InputError as error:
        raise Tampered(error.what, where=error.where or str(file)) from None
    return found


def _check_tables(folder: Path) -> str:
    """The file for microcontrollers computes what the plain one does, where there is a TFLM to ask."""
    file, probe = folder / TFLM_TFLITE, folder / PROBE
    asked = str(probe) if probe.is_file() else ""
    try:
        found: str = contained(f"{__name__}:compared", str(folder / TFLITE), str(file), asked, where=str(file))
    except InputError as error:
        raise Tampered(error.what, where=str(file)) from None
    return found


def compared(plain: str, tables: str, probe: str) -> str:
    """Run both files in TFLM; called where a broken file can do no harm.

    Raises:
        InputError: They compute different things.
    """
    samples = None
    if probe:
        with np.load(io.BytesIO(Path(probe).read_bytes()), allow_pickle=False) as kept:
            samples = kept["x"]
    try:
        return prove_tflm(Path(plain).read_bytes(), Path(tables).read_bytes(), samples)
    except StepFailed as error:
        raise InputError(error.what) from None


def answers(file: str, probe: str, kernels: Kernels, output: str) -> int:
    """Ask a file about kept samples; called where a broken file can do no harm.

    Raises:
        InputError: It cannot be run, or it answers otherwise than recorded.
    """
    runner = Runner(Path(file), threads=1, kernels=kernels, output=output)
    if not probe:
        runner.run(runner.noise(1))
        return 0
    try:
        with np.load(io.BytesIO(Path(probe).read_bytes()), allow_pickle=False) as kept:
            x, expected = kept["x"], kept["outputs"]
    except Exception as error:
        raise InputError(f"cannot be read ({type(error).__name__})", where=probe) from None
    found = runner.run(x)
    spread = float(np.ptp(expected)) or 1.0
    if found.shape != expected.shape or not np.all(np.abs(found - expected) <= SPREAD * spread):
        raise InputError("the file answers the kept samples otherwise than recorded", where=probe)
    return len(x)
