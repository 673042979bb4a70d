"""Benchmark `.tflite` files that belong to no run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts import sha256_of
from litemill.benchmark.locks import held
from litemill.benchmark.parity import SAMPLES
from litemill.benchmark.registry import open_target
from litemill.benchmark.session import Subject
from litemill.errors import InputError
from litemill.evidence import Measurement
from litemill.flatbuffer import read_graph
from litemill.targets import TargetSpec


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
        InputError: A file is no `.tflite` with one input, or the samples do not fit it.
        DeviceError: The target cannot be reached.
    """
    subjects = [subject_of(Path(file)) for file in files]
    given = noise(subjects[0]) if samples is None else samples[:SAMPLES]
    for subject in subjects:
        if list(given.shape[1:]) != subject.input.shape[1:]:
            shape = subject.input.shape[1:]
            raise InputError(f"takes {shape}, the samples are {list(given.shape[1:])}", where=str(subject.path))
    distinct = {subject.sha256: subject for subject in subjects}
    with held(target.device, target.timeout):
        measured = open_target(target).measure(list(distinct.values()), given)
    return [
        measured[subject.sha256].model_copy(update={"recipe": str(subject.path), "target": target.name})
        for subject in subjects
    ]


def subject_of(file: Path) -> Subject:
    """A file as a subject; int8 anywhere in it makes it a quantized one.

    Raises:
        InputError: It is no `.tflite` with one input.
    """
    graph = read_graph(file)
    if len(graph.inputs) != 1 or not graph.outputs:
        raise InputError(f"has {len(graph.inputs)} inputs, one is supported", where=str(file))
    quantized = graph.outputs[0].scale or any(weight.dtype == "int8" for weight in graph.weights)
    scheme = "int8" if quantized else "float32"
    return Subject(sha256_of(file), file, scheme, file.stat().st_size, graph.inputs[0], graph.outputs[0])


def noise(subject: Subject) -> NDArray[np.float32]:
    """Seeded noise within the range of a quantized input, or within [0, 1]."""
    low, high = 0.0, 1.0
    if subject.input.scale:
        limits = np.iinfo(subject.input.dtype)
        low, high = (subject.input.scale * (limit - subject.input.zero_point) for limit in (limits.min, limits.max))
    shape = (SAMPLES, *subject.input.shape[1:])
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
