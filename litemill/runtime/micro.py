"""Run a model in TensorFlow Lite for Microcontrollers, built for this machine: outputs, and the smallest arena."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

LARGEST = 256 << 20
"""A model that does not fit into this is refused for another reason than its size."""
STEP = 16
"""Arenas are aligned to this many bytes."""


def load(model: bytes, arena: int) -> Any:
    """The interpreter with an arena of that size; RuntimeError where it cannot work."""
    from tflite_micro.python.tflite_micro import runtime

    return runtime.Interpreter.from_bytes(model, arena_size=arena)


def run(interpreter: Any, inputs: Any, output: int = 0) -> Any:
    """Raw output for every raw sample; of several inputs a structured array in the model's order."""
    found = []
    for position in range(len(inputs)):
        interpreter.reset()
        sample = inputs[position : position + 1]
        parts = [sample[name] for name in sample.dtype.names] if sample.dtype.names else [sample]
        for number, part in enumerate(parts):
            interpreter.set_input(np.ascontiguousarray(part), number)
        interpreter.invoke()
        found.append(np.array(interpreter.get_output(output)))
    return np.concatenate(found)


def fits(model: bytes, inputs: Any, arena: int) -> bool:
    """Whether the model loads and runs in an arena of that size; tried in a child, because some sizes crash TFLM."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(load(model, arena), inputs[:1])
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def smallest_arena(model: bytes, inputs: Any) -> int:
    """Bisect the arena: TFLM prints what it used but does not return it.

    Returns:
        Bytes, or 0 where no arena is large enough.
    """
    enough = max(STEP, 1 << (len(model) - 1).bit_length())
    while not fits(model, inputs, enough):
        enough *= 4
        if enough > LARGEST:
            return 0
    too_small = 0
    while enough - too_small > STEP:
        middle = (enough + too_small) // 2 // STEP * STEP
        if fits(model, inputs, middle):
            enough = middle
        else:
            too_small = middle
    return enough


def complaint(model: bytes, inputs: Any) -> str:
    """What the native code says on stderr when a model is refused: the op, or the type it does not know."""
    with tempfile.TemporaryFile() as output:
        saved = os.dup(2)
        os.dup2(output.fileno(), 2)
        try:
            fits(model, inputs, LARGEST)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        output.seek(0)
        lines = [line.strip() for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines[:2]) or "it says not why"
