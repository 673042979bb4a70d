"""What a conversion gives, and what its process tells its parent about a variant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from litemill.evidence.graph import Delegation
from litemill.evidence.variant import CalibrationReport, LayerSensitivity, VariantParity


class Converted(NamedTuple):
    """What a conversion gives."""

    data: bytes
    sensitivity: list[LayerSensitivity]
    """What was measured for each layer; empty where nothing was."""
    recipe: list[dict[str, Any]] = []  # noqa: RUF012 (never changed)
    """litert-quantizer's own recipe, where it made the file: it takes it back as JSON."""


Conversion = Callable[..., Converted]
"""Convert a source, given by its path, with the scheme's options and the calibration samples."""


class Findings(BaseModel):
    """Facts that cannot be read from the file alone; of a model that collapsed, those that say why."""

    sensitivity: list[LayerSensitivity] = Field(default_factory=list)
    ops_before: dict[str, int] = Field(default_factory=dict)
    xnnpack: Delegation | None = None
    calibration: CalibrationReport | None = None
    parity: list[VariantParity] = Field(default_factory=list)
