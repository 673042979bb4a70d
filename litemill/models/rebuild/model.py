"""A float `.tflite` as a tf_keras model that computes the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litemill.flatbuffer.reader import read_model
from litemill.models.rebuild.batch_norm import be_the_identity
from litemill.models.rebuild.builder import Builder, Norm
from litemill.models.rebuild.graph import FileGraph, Refused
from litemill.models.rebuild.obstacle import obstacle
from litemill.models.tflite import ends_of

UNFIT = re.compile(r"[^A-Za-z0-9_.\-]")
"""What TensorFlow takes in no name."""


@dataclass(frozen=True)
class Rebuilt:
    """A rebuilt model.

    Attributes:
        model: The tf_keras model, its batch free.
        norms: The BatchNormalization layers that were put back; none where that was not asked for.
    """

    model: Any
    norms: list[Norm] = field(default_factory=list)


def rebuild(path: Path, inputs: Sequence[str] = (), *, batch_norm: bool = False) -> Rebuilt:
    """Rebuild a file's layers.

    Args:
        path: A `.tflite` with float weights.
        inputs: Names of the inputs in the file's order, where there are several and the file does not name them.
        batch_norm: Whether to put BatchNormalization back where one may have been folded into a convolution; its
            statistics say nothing until `litemill.models.rebuild.batch_norm.restore` has seen samples.

    Raises:
        InputError: The file is missing or damaged.
        Refused: It cannot be rebuilt; the message names op and place.
    """
    opened = read_model(path)
    if found := obstacle(opened):
        raise Refused(found)
    graph = FileGraph(opened)
    own, outputs = ends_of(path)
    names = list(own or inputs)
    if len(graph.inputs) == 1 or len(names) != len(graph.inputs):
        names = ["input"] if len(graph.inputs) == 1 else [f"input_{at}" for at in range(len(graph.inputs))]
    builder = Builder(graph, names, [_fit(name) for name in outputs], batch_norm=batch_norm)
    model = builder.build()
    be_the_identity(builder.norms)
    return Rebuilt(model, builder.norms)


def _fit(name: str) -> str:
    """A tensor's name as a layer may have it."""
    return UNFIT.sub("_", name).lstrip("_.-") or "output"
