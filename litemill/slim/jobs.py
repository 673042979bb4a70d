"""A job of the process that rewrites and proves: typed, so that what is sent is what is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class SlimJob(BaseModel):
    """One file to rewrite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    path: Path = Field(description="the `.tflite`")
    keep: list[str] = Field(description="of names, signatures and metadata")
    samples: Path | None = Field(None, description="a `.npy` file to compare outputs on; random inputs without it")
    out: Path = Field(description="where the smaller file goes, if there is one")
    report: Path = Field(description="where the report on it goes")


class LutJob(SlimJob):
    """One slimmed file whose repeated weights are to become look-up tables; its report is a `LutReport`."""

    arena_limit: int | None = Field(None, description="bytes that its arena may have, if there is a limit")
