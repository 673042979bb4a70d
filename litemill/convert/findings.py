"""What the process with TensorFlow in it tells its parent about a variant."""

from __future__ import annotations

from pydantic import BaseModel

from litemill.evidence import Delegation, LayerSensitivity, VariantParity


class Findings(BaseModel):
    """Facts that cannot be read from the file alone."""

    sensitivity: list[LayerSensitivity]
    ops_before: dict[str, int]
    xnnpack: Delegation
    parity: list[VariantParity]
