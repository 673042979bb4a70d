"""What a conversion gives, and what its process tells its parent about a variant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from litemill.evidence import Delegation, LayerSensitivity, VariantParity


class Converted(NamedTuple):
    """What a conversion gives."""

    data: bytes
    sensitivity: list[LayerSensitivity]
    """What was measured for each layer; empty where nothing was."""


Conversion = Callable[[Path, Any, NDArray[np.float32]], Converted]
"""Convert a source with the scheme's options and the calibration samples."""


class Findings(BaseModel):
    """Facts that cannot be read from the file alone."""

    sensitivity: list[LayerSensitivity]
    ops_before: dict[str, int]
    xnnpack: Delegation
    parity: list[VariantParity]
