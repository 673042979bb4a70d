"""The file that a microcontroller stores in place of a variant: its repeated weights as look-up tables."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LutTensor(BaseModel):
    """A weight that is stored as indices into tables of its values."""

    name: str = Field(description="of the tensor; without one, the position and the type of the op that reads it")
    shape: list[int]
    bits: int = Field(description="of an index")
    values: int = Field(description="most distinct values in one table")
    axis: int | None = Field(None, description="axis with one table for each of its channels; None: one table")
    saved_bytes: int = Field(description="weights before, less indices and tables")


class LutReport(BaseModel):
    """What storing repeated weights as look-up tables did to a file for microcontrollers, and the proof."""

    applied: bool = Field(description="whether there is such a file beside the variant")
    reason: str = Field("", description="why there is none")
    sha256: str = ""
    before_bytes: int = Field(0, description="of the plain file")
    after_bytes: int = Field(0, description="of the file with tables")
    arena_before_bytes: int | None = Field(None, description="smallest arena of the plain file, with 64-bit pointers")
    arena_after_bytes: int | None = Field(None, description="the same of the file with tables")
    arena_limit_bytes: int | None = Field(
        None, description="what its arena had to keep to; None: as many more bytes as the file saves"
    )
    tensors: list[LutTensor] = Field(default_factory=list, description="stored as tables, in the order of the file")
    left: dict[str, str] = Field(default_factory=dict, description="int8 weights stored as they are, and why")
    versions: dict[str, str] = Field(default_factory=dict, description="of the package that wrote it")
    checks: dict[str, str] = Field(default_factory=dict, description="what was compared, and the outcome")
