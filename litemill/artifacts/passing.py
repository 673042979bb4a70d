"""Failures that pass: the machine ran out of memory or time, or a device was away. They are no results to keep."""

from __future__ import annotations

import json
from pathlib import Path

from litemill.artifacts.layout import EVALUATION, MEASUREMENT, MODEL, VARIANT

MANIFESTS = (MODEL, VARIANT, EVALUATION, MEASUREMENT)
PASSES = "passes"


def passes(folder: Path) -> bool:
    """Whether something in an artifact failed for a reason that may be gone the next time."""
    files = (file for name in MANIFESTS for file in folder.rglob(name)) if folder.is_dir() else ()
    return any(_says_so(file) for file in files)


def _says_so(file: Path) -> bool:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get(PASSES) is True
