"""Benchmark `.tflite` files that belong to no run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import sha256_of
from litemill.artifacts.inputs import joined, sample_shapes
from litemill.benchmark.locks import device_lock
from litemill.benchmark.parity import SAMPLES
from litemill.benchmark.registry import open_target
from litemill.benchmark.session import Subject
from litemill.config.targets import TargetSpec
from litemill.errors import InputError
from litemill.evidence.outcome import Measurement
from litemill.flatbuffer import read_graph
from litemill.runtime.quantization import random_values


def benchmark_files(
    target: TargetSpec, files: Sequence[Path], samples: NDArray[np.float32] | None = None
) -> list[Measurement]:
    """Measure files side by side on a target.

    Args:
        target: The target.
        files: The `.tflite` files; ratios refer to the first.
        samples: Preprocessed samples, `[samples, …]`, for parity; seeded noise within the input's range by default.

    Returns:
        A measurement for each file, in their order; `recipe` is the file's path.

    Raises:
        InputError: A file is no `.tflite`, or the samples do not fit it.
        DeviceError: The target cannot be reached.
    """
    subjects = [subject_of(Path(file)) for file in files]
    given = noise(subjects[0]) if samples is None else samples[:SAMPLES]
    for subject in subjects:
        shapes = sample_shapes(given.shape[1:], given.dtype)
        alike = list(shapes.values()) == list(subject.sample_shapes.values())
        if shapes != subject.sample_shapes and not (subject.unnamed and alike):
            what = f"takes {_message(subject.sample_shapes)}, the samples are {_message(shapes)}"
            raise InputError(what, where=str(subject.path))
    distinct = {subject.sha256: subject for subject in subjects}
    with device_lock(target.device, target.patience):
        measured = open_target(target).measure(list(distinct.values()), given)
    return [
        measured[subject.sha256].model_copy(update={"recipe": str(subject.path), "target": target.name})
        for subject in subjects
    ]


def subject_of(file: Path) -> Subject:
    """A file as a subject.

    Raises:
        InputError: It is no `.tflite`.
    """
    graph = read_graph(file)
    try:
        return Subject.made(sha256_of(file), file, file.stat().st_size, graph)
    except ValueError as error:
        raise InputError(f"has {error}", where=str(file)) from None


def noise(subject: Subject) -> NDArray[Any]:
    """Seeded noise within the range of each quantized input, or within [0, 1]; see `random_values` for integers."""
    rng, found = np.random.default_rng(0), {}
    for name, info in subject.inputs.items():
        low, high = 0.0, 1.0
        if info.scale:
            limits = np.iinfo(info.dtype)
            low, high = (info.scale * (limit - info.zero_point) for limit in (limits.min, limits.max))
        dtype = np.float32 if info.scale else np.dtype(info.dtype)
        found[name] = random_values(rng, (SAMPLES, *info.shape[1:]), dtype, low, high)
    return joined(found)


def _message(shapes: dict[str, tuple[int, ...]]) -> str:
    """Shapes in words: those of several inputs with their names."""
    return ", ".join(f"{name} {list(shape)}".strip() for name, shape in shapes.items())
