"""Google's `benchmark_model` binary: its flags, and the forms in which it tells its results.

Source: LiteRT, tflite/tools/benchmark/{benchmark_model,benchmark_tflite_model}.cc and tflite/tools/delegates/, and the
proto benchmark_result.proto beside them. Flags that an older binary does not know it leaves aside with a warning.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

WARMUP_RUNS, RUNS = 20, 50
WARMUP_SECONDS = 0.2
LINE = re.compile(
    r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+), "
    r"Warmup \(avg\): ([\d.e+]+), Inference \(avg\): ([\d.e+]+)"
)
COUNT = re.compile(r"\bcount=(\d+) .*$", re.MULTILINE)
MEDIAN = re.compile(r" median=([\d.e+]+)")
WHOLE = re.compile(r"will be completely executed by the delegate")
PART = re.compile(r"will be partially executed by the delegate")
REFUSED = "Disallowed CPU fallback detected"
"""What `--require_full_delegation` says before it ends the binary."""


@dataclass(frozen=True)
class Timings:
    """One run of the binary; milliseconds. It tells no samples, and of percentiles only a median (older ones: none)."""

    init: float
    first: float
    mean: float
    runs: int = 0
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
    if kind != "cpu":
        chosen.append("--require_full_delegation=true")
    return [*chosen, f"--num_threads={threads}"]


def timing_flags(seconds: float, patience: float) -> list[str]:
    """Flags of a timed run: at least `RUNS` inferences and `seconds`, unless that takes `patience` times as long.

    Left to itself the binary runs for a second at least and 150 at most, whatever the number of runs.
    """
    return [
        f"--warmup_runs={WARMUP_RUNS}",
        f"--warmup_min_secs={WARMUP_SECONDS:g}",
        f"--num_runs={RUNS}",
        f"--min_secs={seconds:g}",
        f"--max_secs={max(1.0, patience * seconds):g}",
    ]


def answer_flags(inputs: Sequence[tuple[Sequence[int], str]], output: str) -> list[str]:
    """Flags of a single inference on a sample from files, its output tensors written to another.

    Args:
        inputs: Shape and file of each input, in the graph's order. The binary only warns of names that are not the
            graph's, and those may hold what it would read as a separator.
        output: Path of the file to write.
    """
    names = [f"input{position}" for position in range(len(inputs))]
    shapes = [",".join(str(size) for size in shape) for shape, _ in inputs]
    files = [f"{name}:{path}" for name, (_, path) in zip(names, inputs, strict=True)]
    return [
        "--warmup_runs=0",
        "--warmup_min_secs=0",
        "--num_runs=1",
        "--min_secs=0",
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={':'.join(shapes)}",
        f"--input_layer_value_files={','.join(files)}",
        f"--output_filepath={output}",
    ]


def memory_flags() -> list[str]:
    """Flags that have the peak memory reported. A thread of the binary watches it: never while something is timed."""
    return ["--report_peak_memory_footprint=true", "--memory_footprint_check_interval_ms=2"]


def delegated(output: str) -> str:
    """How much of the graph the binary says a delegate took: `all`, `some` or `none`."""
    if WHOLE.search(output):
        return "all"
    return "some" if PART.search(output) else "none"


def cause(output: str) -> str:
    """Why the binary failed: its last error but the one that only says so, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ") and "Benchmarking failed" not in line]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("ERROR: ")


def read_line(output: str) -> Timings | None:
    """The timings that the binary prints: averages and, by newer ones, the median of the timed runs."""
    found = LINE.search(output)
    if not found:
        return None
    init, first, _, mean = (float(value) / 1e3 for value in found.groups())
    timings = Timings(init=init, first=first, mean=mean)
    counts = list(COUNT.finditer(output))  # the first counts the warm-up
    if len(counts) < 2:
        return timings
    median = MEDIAN.search(counts[-1][0])
    return replace(timings, runs=int(counts[-1][1]), median=float(median[1]) / 1e3 if median else None)


def read_result(content: bytes) -> Timings | None:
    """The `BenchmarkResult` that `--result_file_path` holds: latencies in field 2, memory in 3, numbers of runs in 4.

    Returns:
        None where it is no such message.
    """
    try:
        parts = {number: value for number, value in _fields(content) if isinstance(value, bytes)}
        latency = {number: value for number, value in _fields(parts[2]) if isinstance(value, float)}
        memory = {number: value for number, value in _fields(parts.get(3, b"")) if isinstance(value, float)}
        counts = {number: value for number, value in _fields(parts.get(4, b"")) if isinstance(value, int)}
        # avg, min, max, stddev, median, p5, p95, init, first inference, average warm-up: 1 to 10
        timings = Timings(init=latency[8], first=latency[9], mean=latency[1], median=latency[5], runs=counts.get(2, 0))
    except (KeyError, ValueError, struct.error):
        return None
    peak = memory.get(3, 0.0)
    return replace(timings, peak_memory_bytes=int(peak * (1 << 20))) if peak > 0 else timings


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
