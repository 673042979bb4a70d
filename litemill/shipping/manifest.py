"""`release.json`: what a release is, and which files it has."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from litemill.errors import LitemillError
from litemill.evidence.base import Estimate
from litemill.evidence.interface import Interface
from litemill.evidence.lut import LutReport
from litemill.evidence.sources import StepRecord

RELEASE, SUMS, SIGNATURE, PUBLIC_KEY = "release.json", "SHA256SUMS", "model.sig", "signer.pem"
CARD, BOM = "MODEL_CARD.md", "bom.cdx.json"
UNSUMMED = (SUMS, SIGNATURE)
"""Files that `SHA256SUMS` cannot list: itself, and the signature over it and all others."""


class Tampered(LitemillError):
    """A release is not what it says it is: a file was changed, swapped, added or removed."""


class Digests(BaseModel):
    """What went in, by SHA-256."""

    model: str = Field("", description="of the source model")
    calibration: str = Field("", description="of the samples that set the ranges; empty where none were needed")
    test: str = Field(description="of the samples that the file was evaluated on")


class Found(BaseModel):
    """What was found about the file, and is in the evidence beside it in full."""

    metric: str
    value: float
    drop: Estimate | None = None
    samples: int
    per_class_metric: str = ""
    per_class: list[float | None] = Field(default_factory=list)
    latency_ms: dict[str, float] = Field(default_factory=dict, description="median by target")
    verdict: str = ""
    reason: str = ""


class Tables(BaseModel):
    """The file for microcontrollers: the same model, its repeated weights as look-up tables that TFLM decodes."""

    sha256: str = Field(description="of model.tflm.tflite")
    size_bytes: int
    arena_bytes: int | None = Field(None, description="smallest arena that it works in, with 64-bit pointers")
    plain_arena_bytes: int | None = Field(None, description="the same of model.tflite")
    weights: int = Field(description="tensors that are tables")

    @classmethod
    def of(cls, found: LutReport | None) -> Tables | None:
        """What a release says of it, where there is one."""
        if found is None or not found.applied:
            return None
        return cls(
            sha256=found.sha256,
            size_bytes=found.after_bytes,
            arena_bytes=found.arena_after_bytes,
            plain_arena_bytes=found.arena_before_bytes,
            weights=len(found.tensors),
        )


class Release(BaseModel):
    """`release.json`. Fields are added, never renamed."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int = 1
    name: str
    recipe: str
    steps: list[str]
    options: dict[str, Any] = Field(default_factory=dict, description="of the conversion scheme")
    train_steps: list[StepRecord] = Field(default_factory=list)
    seed: int = 0
    sha256: str = Field(description="of model.tflite")
    size_bytes: int
    tables: Tables | None = Field(None, description="the file for microcontrollers beside it, where there is one")
    data: Digests
    evidence: Found
    interface: Interface | None = Field(None, description="preprocessing, labels, and what outputs mean")
    intended_use: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    litemill: str = Field("", description="version that wrote the release")
    mlflow_run_id: str = ""
    pack: list[str] = Field(default_factory=list, description="sources that run the file, in deploy/")
    signer: str = Field("", description="SHA-256 of the signer's public key (PEM); empty where it is not signed")
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 of every other file by its name")


def digests_of(folder: Path, without: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of the files below a folder by their paths in it, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name not in without}


def written_sums(digests: dict[str, str]) -> str:
    """`SHA256SUMS`, as `sha256sum --check` reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def read_sums(text: str, where: str) -> dict[str, str]:
    """The digests in a `SHA256SUMS` by name.

    Raises:
        Tampered: A line of it is not one that `sha256sum` writes, or names a file twice.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        digest, gap, name = line.partition("  ")
        if not gap or len(digest) != 64 or not set(digest) <= set("0123456789abcdef") or not name or name in found:
            raise Tampered(f"has a line that is not of the form of sha256sum: {line[:80]!r}", where=where)
        found[name] = digest
    return found
