"""Stands in for Coral's `edgetpu_compiler`: its options, and what version 16 prints and leaves.

The format is that of the compiler's own logs; which ops are mapped is `BEHAVIOUR` (in the copy that a test makes).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from litemill.flatbuffer import read_graph

BEHAVIOUR = "good"
VERSION = "Edge TPU Compiler version 16.0.384591198"


def say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def fail(*reasons: str) -> None:
    say(*reasons, "Compilation child process completed within timeout period.", "Compilation failed! ")
    sys.exit(1)


def compiled(model: Path, out: Path) -> None:
    """Compile: everything is mapped, or (partial) all up to the last op but one."""
    graph = read_graph(model)
    ops = Counter(graph.ops)
    if any(weight.dtype.startswith("float") for weight in graph.weights):
        fail("Compilation failed: Model not quantized")
    rows = [(op, count, "Mapped to Edge TPU") for op, count in ops.items()]
    cpu = 0
    if BEHAVIOUR == "partial":
        op, count, status = rows.pop()
        cpu = 1
        limited = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
        rows += [(op, 1, limited), *([(op, count - 1, status)] if count > 1 else [])]
    if BEHAVIOUR == "nothing":
        cpu = ops.total()
        rows = [(op, count, "More than one subgraph is not supported") for op, count in ops.items()]
    target = out / f"{model.stem}_edgetpu.tflite"
    target.write_bytes(model.read_bytes() + bytes(4096))
    say(
        "",
        "Model compiled successfully in 231 ms.",
        "",
        f"Input model: {model}",
        f"Input size: {model.stat().st_size / 1024:.2f}KiB",
        f"Output model: {target}",
        f"Output size: {target.stat().st_size / 1024:.2f}KiB",
        "On-chip memory used for caching model parameters: 18.25KiB",
        "On-chip memory remaining for caching model parameters: 7.67MiB",
        "Off-chip memory used for streaming uncached model parameters: 0.00B",
        f"Number of Edge TPU subgraphs: {0 if cpu == ops.total() else 1}",
        f"Total number of operations: {ops.total()}",
        f"Operation log: {target.with_suffix('.log')}",
    )
    if cpu:
        say(
            "",
            "Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the "
            "model will instead run on the CPU, which is slower. If possible, consider updating your model to use "
            "only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.",
            f"Number of operations that will run on Edge TPU: {ops.total() - cpu}",
            f"Number of operations that will run on CPU: {cpu}",
        )
    if BEHAVIOUR == "no-table":
        say("See the operation log file for individual operation details.")
    else:
        say("", "Operator                       Count      Status", "")
        say(*(f"{op:<30} {count:<10} {status}" for op, count, status in rows))
    say("Compilation child process completed within timeout period.", "Compilation succeeded! ")


arguments = sys.argv[1:]
if arguments in (["-v"], ["--version"]):
    say("something else 1.0" if BEHAVIOUR == "other" else VERSION)
    sys.exit(0)
show, timeout_flag, timeout, out_flag, folder, source = arguments
if (show, timeout_flag, out_flag) != ("-s", "-t", "-o"):
    sys.exit("unknown option")
say(VERSION, f"Started a compilation timeout timer of {timeout} seconds.")
if BEHAVIOUR == "hang":
    sys.stdout.flush()
    time.sleep(600)
if BEHAVIOUR == "crash":
    fail("Internal compiler error. Aborting! ")
compiled(Path(source), Path(folder))
