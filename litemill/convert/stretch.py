"""Which calibration samples stretch a tensor's range most: one outlier takes levels from all other samples.

Reads every activation of the float model in LiteRT with all tensors preserved. `python -m litemill.convert.stretch
FOLDER` is the process it runs in (see litemill.process.isolation): a job holds `name`, `tflite`, `samples` (`x.npy`)
and `out`, the JSON file to write.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from litemill.artifacts.files import write_manifest
from litemill.flatbuffer.reader import op_name, read_model
from litemill.process.isolation import Job, serve

BATCH = 32
INPUT = "input"


class Stretch(BaseModel):
    """A sample that widens the range of a tensor beyond what all other samples need."""

    sample: int = Field(description="row of the calibration split")
    label: int | None = Field(None, description="its class, where it has one")
    tensor: str
    op: str = Field(description="type of the op that makes the tensor, or `input`")
    value_range: tuple[float, float] = Field(description="of the tensor over all samples, widened to hold zero")
    range_without: tuple[float, float] = Field(description="the same over all other samples")
    widens: float = Field(description="how much wider the sample makes it, as a fraction of the range without it")


class Stretches(BaseModel):
    """Every sample that stretches a tensor, the widest first."""

    found: list[Stretch]


def find_stretches(path: Path, samples: NDArray[np.float32]) -> list[Stretch]:
    """Measure what each sample adds to the range of each activation.

    Args:
        path: A float `.tflite` with one input, with the names of its tensors.
        samples: `[samples, …]`, two or more.

    Returns:
        One entry for each tensor and sample that holds its smallest or largest value alone, widest first.
    """
    names, lows, highs = _activation_ranges(path, samples)
    lows, highs = np.minimum(lows, 0.0), np.maximum(highs, 0.0)
    found = []
    for place, (tensor, op) in enumerate(names):
        low, high = lows[:, place], highs[:, place]
        for sample in sorted({int(low.argmin()), int(high.argmax())}):
            others = np.arange(len(low)) != sample
            without = (float(low[others].min()), float(high[others].max()))
            span, whole = without[1] - without[0], float(high.max() - low.min())
            if span > 0 and whole > span:
                both = (float(low.min()), float(high.max()))
                stretch = Stretch(
                    sample=sample,
                    tensor=tensor,
                    op=op,
                    value_range=both,
                    range_without=without,
                    widens=whole / span - 1,
                )
                found.append(stretch)
    return sorted(found, key=lambda one: -one.widens)


def _activation_ranges(
    path: Path, samples: NDArray[np.float32]
) -> tuple[list[tuple[str, str]], NDArray[np.float64], NDArray[np.float64]]:
    """Name and op of each float activation, and its smallest and largest value, both `[samples, tensors]`."""
    interpreter, batch = _open(path, min(BATCH, len(samples)))
    source = interpreter.get_input_details()[0]
    model = read_model(path)
    graph = model.subgraphs[0]
    makers = {int(index): op_name(model, op) for op in graph.operators for index in op.outputs}
    wanted = {source["index"]: INPUT, **makers}
    details = {
        item["index"]: item["name"]
        for item in interpreter.get_tensor_details()
        if item["index"] in wanted and item["dtype"] == np.float32
    }
    lows: list[Any] = []
    highs: list[Any] = []
    for start in range(0, len(samples), batch):
        part = np.asarray(samples[start : start + batch], np.float32)
        missing = batch - len(part)
        filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        interpreter.set_tensor(source["index"], filled)
        interpreter.invoke()
        rows = [interpreter.get_tensor(index).reshape(batch, -1)[: len(part)] for index in details]
        lows.append(np.stack([row.min(axis=1) for row in rows], axis=1))
        highs.append(np.stack([row.max(axis=1) for row in rows], axis=1))
    names = [(name.split(";")[0], wanted[index]) for index, name in details.items()]
    return names, np.concatenate(lows).astype(np.float64), np.concatenate(highs).astype(np.float64)


def _open(path: Path, batch: int) -> tuple[Any, int]:
    """LiteRT without delegates, which keep their tensors to themselves; a batch of one where no larger one works."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(path),
        num_threads=len(os.sched_getaffinity(0)),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    source = interpreter.get_input_details()[0]
    try:
        interpreter.resize_tensor_input(source["index"], [batch, *source["shape"][1:]])
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError):
        if batch == 1:
            raise
        return _open(path, 1)
    return interpreter, batch


class StretchJob(BaseModel):
    """One file to examine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    tflite: Path
    samples: Path
    out: Path


def examine(data: Job) -> None:
    """Do one job: a `StretchJob` as plain data."""
    job = StretchJob.model_validate(data)
    samples = np.load(job.samples, mmap_mode="r", allow_pickle=False)
    write_manifest(job.out, Stretches(found=find_stretches(job.tflite, samples)))


if __name__ == "__main__":
    serve(examine)
