"""Stands in for Google's `benchmark_model`: its flags and formats, over LiteRT's Python interpreter.

`BEHAVIOUR` (in the copy that a test makes) is what a binary may do wrong. Like the real one it runs until both the
number of runs and the least number of seconds are reached, and stops at the most seconds.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

BEHAVIOUR = "good"

KNOWN = {
    "graph": "",
    "num_threads": "-1",
    "num_runs": "50",
    "min_secs": "1",
    "max_secs": "150",
    "warmup_runs": "1",
    "warmup_min_secs": "0.5",
    "use_xnnpack": "",
    "use_gpu": "false",
    "use_hexagon": "false",
    "use_nnapi": "false",
    "disable_nnapi_cpu": "true",
    "nnapi_accelerator_name": "",
    "external_delegate_path": "",
    "require_full_delegation": "false",
    "input_layer": "",
    "input_layer_shape": "",
    "input_layer_value_files": "",
    "output_filepath": "",
    "result_file_path": "",
    "report_peak_memory_footprint": "false",
    "memory_footprint_check_interval_ms": "50",
}
"""The flags that are used here, with the real binary's defaults."""
flags = KNOWN | dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])


def say(line: str) -> None:
    sys.stdout.write(f"INFO: {line}\n")


def refuse(line: str, code: int = 1) -> None:
    sys.stdout.write(f"ERROR: {line}\nERROR: Benchmarking failed.\n")
    sys.exit(code)


def repeat(runs: int, least: float) -> list[float]:
    """Microseconds of each run, as `BenchmarkModel::Run` counts them."""
    say(f"Running benchmark for at least {runs} iterations and at least {least:g} seconds but terminate if exceeding "
        f"{float(flags['max_secs']):g} seconds.")  # fmt: skip
    taken: list[float] = []
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) <= float(flags["max_secs"]) and (len(taken) < runs or passed < least):
        before = time.perf_counter()
        interpreter.invoke()
        taken.append((time.perf_counter() - before) * 1e6)
    if taken:
        low, middle, high = np.percentile(taken, [5, 50, 95]).astype(int)
        new = "" if BEHAVIOUR == "old" else f" p5={low} median={middle} p95={high}"
        say(f"count={len(taken)} first={taken[0]:.0f} curr={taken[-1]:.0f} min={min(taken):.0f} max={max(taken):.0f} "
            f"avg={np.mean(taken):.6g} std={np.std(taken):.0f}{new}\n")  # fmt: skip
    return taken


def floats(values: dict[int, float]) -> bytes:
    return b"".join(bytes([number << 3 | 5]) + struct.pack("<f", value) for number, value in values.items())


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


if BEHAVIOUR == "hang":
    time.sleep(600)
interpreter = Interpreter(flags["graph"], num_threads=int(flags["num_threads"]))
asked = {
    "GPU": flags["use_gpu"] == "true",
    "Hexagon": flags["use_hexagon"] == "true",
    "NNAPI": flags["use_nnapi"] == "true",
    "EXTERNAL": bool(flags["external_delegate_path"]),
}
if any(asked.values()):
    name = next(name for name, chosen in asked.items() if chosen)
    took = {"good": "completely", "partial": "partially"}.get(BEHAVIOUR, "")
    if BEHAVIOUR == "none":
        say(f"Though {name} delegate is explicitly applied, the model graph will not be executed by the delegate.")
    elif flags["require_full_delegation"] == "true" and took != "completely":
        refuse("Disallowed CPU fallback detected.")
    else:
        say(f"Explicitly applied {name} delegate, and the model graph will be {took} executed by the delegate.")
interpreter.allocate_tensors()
source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
if flags["input_layer_value_files"]:
    content = Path(flags["input_layer_value_files"].split(":", 1)[1]).read_bytes()
    shape = [int(size) for size in flags["input_layer_shape"].split(",")]
    interpreter.set_tensor(source["index"], np.frombuffer(content, source["dtype"]).reshape(shape))
if BEHAVIOUR == "crash":
    refuse("Failed to allocate tensors!", code=7)

warm_up = repeat(int(flags["warmup_runs"]), float(flags["warmup_min_secs"]))
taken = repeat(int(flags["num_runs"]), float(flags["min_secs"]))
mean = float(np.mean(taken))
if flags["output_filepath"] and BEHAVIOUR != "no-output":
    answer = interpreter.get_tensor(sink["index"])
    Path(flags["output_filepath"]).write_bytes((np.roll(answer, 1) if BEHAVIOUR == "wrong" else answer).tobytes())
if flags["result_file_path"] and BEHAVIOUR not in ("line-only", "old"):
    low, middle, high = np.percentile(taken, [5, 50, 95])
    latency = [mean, min(taken), max(taken), 0.0, middle, low, high, 5685.0, 18535.0, 14462.3]
    memory = {1: 4096.0, 2: 8192.0}
    if flags["report_peak_memory_footprint"] == "true":
        memory[3] = 12.5
    counts = bytes([2 << 3]) + varint(len(taken)) + bytes([3 << 3]) + varint(len(warm_up))
    Path(flags["result_file_path"]).write_bytes(
        message(2, floats({number: value / 1e3 for number, value in enumerate(latency, 1)}))
        + message(3, floats(memory))
        + message(4, floats({1: 0.08}) + counts)
    )
say(f"Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, Inference (avg): {mean:.6g}")
