"""Stands in for Google's `benchmark_model`: its flags and formats, over LiteRT's Python interpreter.

`BEHAVIOUR` (in the copy that a test makes) is what a binary may do wrong.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

BEHAVIOUR = "good"

flags = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
interpreter = Interpreter(flags["graph"], num_threads=int(flags["num_threads"]))
interpreter.allocate_tensors()
source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
if "input_layer_value_files" in flags:
    content = Path(flags["input_layer_value_files"].split(":", 1)[1]).read_bytes()
    shape = [int(size) for size in flags["input_layer_shape"].split(",")]
    interpreter.set_tensor(source["index"], np.frombuffer(content, source["dtype"]).reshape(shape))
if BEHAVIOUR == "crash":
    sys.stdout.write("Failed to allocate tensors!\n")
    sys.exit(7)

taken = []
for _ in range(int(flags["num_runs"])):
    start = time.perf_counter()
    interpreter.invoke()
    taken.append((time.perf_counter() - start) * 1e3)
mean, median = float(np.mean(taken)), float(np.median(taken))
if flags.get("use_gpu") == "true":
    whole = "completely" if BEHAVIOUR == "good" else "partially"
    sys.stdout.write(
        f"Explicitly applied GPU delegate, and the model graph will be {whole} executed by the delegate.\n"
    )
if "output_filepath" in flags and BEHAVIOUR != "no-output":
    answer = interpreter.get_tensor(sink["index"])
    Path(flags["output_filepath"]).write_bytes((np.roll(answer, 1) if BEHAVIOUR == "wrong" else answer).tobytes())
if "result_file_path" in flags and BEHAVIOUR != "line-only":
    floats = [mean, min(taken), max(taken), 0.0, median, 0.0, 0.0, 5.685, 18.535, 14.4623]
    latency = b"".join(bytes([number << 3 | 5]) + struct.pack("<f", value) for number, value in enumerate(floats, 1))
    memory = bytes([3 << 3 | 5]) + struct.pack("<f", 12.5)
    Path(flags["result_file_path"]).write_bytes(
        bytes([2 << 3 | 2, len(latency)]) + latency + bytes([3 << 3 | 2, len(memory)]) + memory
    )
sys.stdout.write(
    f"Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, "
    f"Inference (avg): {mean * 1e3:.6g}\n"
)
