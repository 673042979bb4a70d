"""What Keras and TensorFlow know by name: the lists that a model's contents must be on.

`known.json` is derived from the installed packages by `python -m tests.models.derive_known`; a test says so when they
are out of date. Names are kept with the modules they may be asked for from, as configurations write them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Version = Literal["keras2", "keras3"]

SAVES = frozenset({"SaveV2", "MergeV2Checkpoints", "ShardedFilename", "SaveSlices", "Save"})
RESTORES = frozenset({"RestoreV2", "RestoreSlice", "Restore"})
"""Operations with which every SavedModel saves and restores its variables."""


@dataclass(frozen=True)
class Known:
    """Names that are known.

    Attributes:
        classes: Modules by the name of a class.
        functions: Modules by the name of a function, or of a class that a string may name.
        modules: All modules of both.
    """

    classes: dict[str, frozenset[str]]
    functions: dict[str, frozenset[str]]
    modules: frozenset[str]


@cache
def _lists() -> dict[str, dict[str, dict[str, list[str]]]]:
    found: dict[str, dict[str, dict[str, list[str]]]] = json.loads(Path(__file__).with_name("known.json").read_text())
    return found


@cache
def known(version: Version) -> Known:
    """What a version of Keras knows."""
    classes, functions = (
        {name: frozenset(modules) for name, modules in _lists()[version][kind].items()}
        for kind in ("classes", "functions")
    )
    return Known(classes, functions, frozenset().union(*classes.values(), *functions.values()))


@cache
def tensorflow_functions() -> frozenset[str]:
    """Functions of TensorFlow that compute, as a TFOpLambda layer names them."""
    return frozenset(_lists()["tensorflow"]["functions"])


@cache
def operations() -> frozenset[str]:
    """Operations whose effects stay within the graph."""
    return frozenset(_lists()["tensorflow"]["ops"])
