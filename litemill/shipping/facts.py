"""What the deployment pack of a release is written from: its evidence, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from litemill.artifacts.layout import TFLITE, TFLM_TFLITE
from litemill.config.data import Preprocessing
from litemill.evidence.base import TensorInfo
from litemill.evidence.graph import GraphReport
from litemill.evidence.interface import Interface
from litemill.evidence.outcome import Measurement
from litemill.flatbuffer.reader import op_name, read_model, signature_names
from litemill.shipping.manifest import Release
from litemill.tasks.joined import parts_of

MICRO_RUNTIME = "tflite-micro"


@dataclass(frozen=True)
class Port:
    """An input or an output of the file."""

    name: str
    """In the signature; empty where there is one, or none has a name."""
    info: TensorInfo
    steps: Preprocessing = field(default_factory=Preprocessing)
    """What is done to raw values of an input."""

    @property
    def shape(self) -> list[int]:
        """With a batch of 1."""
        return [max(1, size) for size in self.info.shape]

    @property
    def elements(self) -> int:
        """Of one sample."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def channels(self) -> int:
        """Length of the last axis, which mean, std and channel order are about."""
        return self.shape[-1] if len(self.shape) > 1 else 1

    @property
    def plain(self) -> bool:
        """Whether raw values go in as they are."""
        done = self.steps
        return done.scale == 1.0 and done.offset == 0.0 and not done.mean and not done.std


@dataclass(frozen=True)
class Micro:
    """What a microcontroller stores."""

    data: bytes
    file: str
    ops: list[str]
    """By type, each once, sorted."""
    arena: int


@dataclass(frozen=True)
class Facts:
    """A release as an app needs it."""

    release: Release
    inputs: list[Port]
    outputs: list[Port]
    judged: int
    """Position of the output that predictions are read from."""
    labels: list[str]
    micro: Micro | None
    """None where nothing shows that TFLM runs it."""

    @property
    def classifies(self) -> bool:
        """Whether the judged output has a number for each class."""
        known = self.release.interface
        return known is not None and known.task == "classification" and self.outputs[self.judged].elements > 1


def read_facts(
    folder: Path, release: Release, graph: GraphReport | None, measured: dict[str, Measurement]
) -> Facts | None:
    """The facts of a release.

    Args:
        folder: With `model.tflite` and what is beside it.
        release: What is said of it.
        graph: Of the plain file.
        measured: By target.

    Returns:
        Them; None where the interface or the graph was not recorded.
    """
    known = release.interface
    if known is None or graph is None or not graph.inputs or not graph.outputs:
        return None
    starts, ends = signature_names(folder / TFLITE)
    several = len(graph.inputs) > 1
    names = starts if several and all(starts) else [info.name if several else "" for info in graph.inputs]
    wanted = parts_of(known.output, ends)[0] if known.output and ends else ""
    return Facts(
        release=release,
        inputs=[
            Port(name, info, _steps(known, name if several else ""))
            for name, info in zip(names, graph.inputs, strict=True)
        ],
        outputs=[Port(info.name, info) for info in graph.outputs],
        judged=ends.index(wanted) if wanted in ends else 0,
        labels=known.labels,
        micro=_micro(folder, release, measured),
    )


def _steps(known: Interface, name: str) -> Preprocessing:
    recorded: Any = known.preprocessing.get(name, {}) if known.inputs else known.preprocessing
    return Preprocessing.model_validate(recorded)


def _micro(folder: Path, release: Release, measured: dict[str, Measurement]) -> Micro | None:
    """What TFLM was shown to run: the file with look-up tables where there is one."""
    arenas = [
        one.arena_bytes
        for one in measured.values()
        if one.status == "ok" and one.device.get("runtime") == MICRO_RUNTIME and one.arena_bytes
    ]
    arena = max(arenas, default=release.tables.arena_bytes if release.tables else None)
    if arena is None:
        return None
    name = TFLM_TFLITE if release.tables else TFLITE
    model = read_model(folder / name)
    ops = {op_name(model, op) for graph in model.subgraphs for op in graph.operators or []}
    return Micro((folder / name).read_bytes(), name, sorted(ops), arena)
