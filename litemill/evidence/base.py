"""What all evidence shares."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from litemill.evidence.display import Shown

Status = Literal["ok", "failed"]
Verdict = Literal["pass", "fail", "inconclusive"]


class Evidence(Shown):
    """Base of all evidence."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1


class Estimate(BaseModel):
    """A value with the bounds of its 95 % confidence interval, in the value's own unit."""

    value: float
    ci: tuple[float, float]


class TensorInfo(BaseModel):
    """An input or output tensor. `shape` has −1 for a dimension that is free; scale 0 means not quantized."""

    name: str
    shape: list[int]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
