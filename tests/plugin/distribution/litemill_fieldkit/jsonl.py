"""The kind of data `jsonl`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from litemill.extend import DataSpec, InputError, Source, SourceSplit, fetch, reading_array, targets_for
from litemill_fieldkit import JsonlOptions


def open_jsonl(spec: DataSpec, seed: int) -> Source:
    """Open the file.

    Raises:
        InputError: A line is not such an object, or a split has samples of different shapes.
    """
    options, path = JsonlOptions.model_validate(spec.options), fetch(spec.uri)
    rows: dict[str, list[Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = _row(line, f"{spec.uri}:{number}", ("split", options.x, options.y))
        rows.setdefault(row["split"], []).append((row[options.x], row[options.y]))
    if not {"train", "test"} <= set(rows):
        raise InputError("has no lines of split train, or none of test", where=spec.uri)
    return Source({name: _split(spec, name, rows[name]) for name in ("train", "test", "calibration") if name in rows})


def _row(line: str, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", where=where) from None
    missing = [key for key in keys if not isinstance(row, dict) or key not in row]
    if missing:
        raise InputError(f"has no {missing[0]!r}", where=where)
    return dict(row)


def _split(spec: DataSpec, name: str, rows: list[Any]) -> SourceSplit:
    where = f"{spec.uri}[{name}]"
    try:
        x = np.asarray([sample for sample, _ in rows], np.float32)
    except ValueError:
        raise InputError("has samples of different shapes, or not of numbers", where=where) from None
    targets = targets_for(spec.task, np.asarray([label for _, label in rows]), len(rows), where)
    return SourceSplit(name, where, x.shape[1:], x.dtype, targets, reading_array(x))
