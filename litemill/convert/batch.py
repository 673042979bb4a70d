"""Keep a file that was converted with batch 1 resizable to other batches, if its samples then stay apart."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from litemill.flatbuffer.reader import constant, ints, op_name, parse_model
from litemill.runtime.runner import Runner, same_answers

log = logging.getLogger(__name__)

SIGNATURE = "serving_default"
"""The signature that is converted and kept."""
RESHAPE = "RESHAPE"
SHAPE_INPUT = 1
BATCHED_SAMPLES = 7
"""Samples on which batches are tried."""
BATCHES = (2, 3, BATCHED_SAMPLES)
"""Batch sizes that are tried: the last batch of two of them is filled up."""


def follow_batch(path: Path, x: NDArray[Any]) -> bool:
    """Let a file take batches if that takes no other op and no sample's answer then depends on the others.

    Args:
        path: The file, with a batch of 1; rewritten in place if that helps.
        x: Samples to try it on, `[samples, …]`.

    Returns:
        Whether it follows the batch. One that does not stays as it is, and is run sample by sample.
    """
    if follows_batch(path, x):
        return True
    fixed = path.read_bytes()
    path.write_bytes(free_reshapes(fixed))
    if follows_batch(path, x):
        return True
    path.write_bytes(fixed)
    log.warning("%s: the batch of 1 is fixed in the graph; it is evaluated sample by sample", path.parent.name)
    return False


def follows_batch(path: Path, x: NDArray[Any]) -> bool:
    """Whether batches of several sizes give each sample the answer that it gets alone."""
    expected = Runner(path, batch=1).run(x)
    for size in BATCHES:
        runner = Runner(path, batch=size)
        if runner.batch != size or not same_answers(runner.run(x), expected):
            return False
    return True


def free_reshapes(data: bytes) -> bytes:
    """Let the constant shapes of RESHAPE ops follow the batch: `[1, a, b]` becomes `[−1, a, b]`, `[a, b]` `[−1, b]`.

    The converter folds the batch of 1 into the shape that a RESHAPE asks for, often into its first dimension, and the
    op then refuses every other batch. With batch 1 both shapes mean the same.

    Args:
        data: A `.tflite` with batch 1.

    Returns:
        The same file with those numbers changed in place; whether it then follows the batch has to be tried.
    """
    changed = bytearray(data)
    model = parse_model(changed, where="converted model")
    for graph in model.subgraphs:
        for index in _shape_tensors(model, graph):
            shape = constant(model, graph.tensors[index])
            if shape is not None and len(shape) > 1 and (shape > 0).all():
                shape[0] = -1
    return bytes(changed)


def _shape_tensors(model: Any, graph: Any) -> set[int]:
    """Tensors that RESHAPE ops read as their shape and no other op reads, nor another tensor's buffer."""
    shapes, others = set(), set()
    for op in graph.operators or []:
        inputs = ints(op.inputs)
        if op_name(model, op) == RESHAPE and len(inputs) > SHAPE_INPUT:
            shapes.add(inputs[SHAPE_INPUT])
            others.add(inputs[0])
        else:
            others.update(inputs)
    taken = {graph.tensors[index].buffer for index in others if index >= 0}
    return {index for index in shapes - others if graph.tensors[index].buffer not in taken}
