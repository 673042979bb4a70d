"""Google's `benchmark_model` binary: its flags, and the two forms in which it tells its results."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

ACCELERATORS = re.compile(r"cpu|gpu|hexagon|nnapi(:.+)?|delegate:.+")
WARMUP_RUNS, RUNS = 20, 50
LINE = re.compile(
    r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+), "
    r"Warmup \(avg\): ([\d.e+]+), Inference \(avg\): ([\d.e+]+)"
)
WHOLE = re.compile(r"will be completely executed by the delegate")
PART = re.compile(r"will be partially executed by the delegate")


@dataclass(frozen=True)
class Timings:
    """One run of the binary; milliseconds. There are no percentiles in it but a median, and that only in the file."""

    init: float
    first: float
    mean: float
    median: float | None = None
    peak_memory_bytes: int | None = None


def flags(accelerator: str, threads: int) -> list[str]:
    """Flags that ask for an accelerator, and for that alone."""
    kind, _, detail = accelerator.partition(":")
    chosen = {
        "cpu": ["--use_xnnpack=true"],
        "gpu": ["--use_xnnpack=false", "--use_gpu=true"],
        "hexagon": ["--use_xnnpack=false", "--use_hexagon=true"],
        "nnapi": ["--use_xnnpack=false", "--use_nnapi=true", "--disable_nnapi_cpu=true"],
        "delegate": ["--use_xnnpack=false", f"--external_delegate_path={detail}"],
    }[kind]
    if kind == "nnapi" and detail:
        chosen.append(f"--nnapi_accelerator_name={detail}")
    return [*chosen, f"--num_threads={threads}"]


def delegated(output: str) -> str:
    """How much of the graph the binary says a delegate took: `all`, `some` or `none`."""
    if WHOLE.search(output):
        return "all"
    return "some" if PART.search(output) else "none"


def read_line(output: str) -> Timings | None:
    """The timings that the binary prints; averages only."""
    found = LINE.search(output)
    if not found:
        return None
    init, first, _, mean = (float(value) / 1e3 for value in found.groups())
    return Timings(init=init, first=first, mean=mean)


def read_result(content: bytes) -> Timings | None:
    """The `BenchmarkResult` that `--result_file_path` holds: latencies in field 2, memory in field 3.

    Returns:
        None where it is no such message.
    """
    try:
        parts = {number: value for number, value in _fields(content) if isinstance(value, bytes)}
        latency = {number: value for number, value in _fields(parts[2]) if isinstance(value, float)}
        memory = {number: value for number, value in _fields(parts.get(3, b"")) if isinstance(value, float)}
        # avg, min, max, stddev, median, p5, p95, init, first inference, average warm-up: 1 to 10
        timings = Timings(init=latency[8], first=latency[9], mean=latency[1], median=latency[5])
    except (KeyError, ValueError, struct.error):
        return None
    peak = memory.get(3, 0.0)
    return Timings(**(vars(timings) | {"peak_memory_bytes": int(peak * (1 << 20))})) if peak > 0 else timings


def _fields(content: bytes) -> Iterator[tuple[int, bytes | float | int]]:
    """Field numbers and values of a protocol buffer: varints, 32-bit floats and nested messages."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value: bytes | float | int
            value, at = _varint(content, at)
        elif kind == 5:
            (value,) = struct.unpack_from("<f", content, at)
            at += 4
        elif kind == 2:
            size, at = _varint(content, at)
            value, at = content[at : at + size], at + size
            if len(value) < size:
                raise ValueError("cut off")
        else:
            raise ValueError(f"wire type {kind}")
        yield key >> 3, value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content):
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("cut off")
