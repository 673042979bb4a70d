"""What conversion folded into other ops: the frozen TensorFlow graph against the ops of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BATCH_NORM = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
ADDITIONS, PRODUCTS = ("Add", "AddV2"), ("Mul",)
ACTIVATIONS = {"Relu": "RELU", "Relu6": "RELU6", "Relu1": "RELU_N1_TO_1"}
"""TFLite's op by TensorFlow's, for activations that another op can compute on its way out."""


def count_folded(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """BatchNorm, bias and activation ops of the frozen graph that have become part of another op.

    A BatchNorm that could not be folded is a MUL and an ADD of the file, a bias that could not an ADD: what there are
    more of these than the graph had is what was left.

    Args:
        before: Ops by type of the frozen TensorFlow graph.
        after: Ops by type of the file.

    Returns:
        The number folded by kind: `batch_norm`, `bias`, `activation`; kinds that the graph does not have are left out.
    """
    norms, biases = _count(before, BATCH_NORM), before.get("BiasAdd", 0)
    products = max(0, after.get("MUL", 0) - _count(before, PRODUCTS))
    sums = max(0, after.get("ADD", 0) - _count(before, ADDITIONS))
    norms_left = min(norms, products)
    activations = {name: before.get(name, 0) - after.get(tflite, 0) for name, tflite in ACTIVATIONS.items()}
    found = {
        "batch_norm": (norms, norms - norms_left),
        "bias": (biases, biases - min(biases, max(0, sums - norms_left))),
        "activation": (_count(before, ACTIVATIONS), sum(max(0, count) for count in activations.values())),
    }
    return {kind: folded for kind, (there, folded) in found.items() if there}


def _count(ops: Mapping[str, int], names: Iterable[str]) -> int:
    return sum(ops.get(name, 0) for name in names)
