"""What the outputs of a classifier are worth against the labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.errors import StepFailed


class Classification(NamedTuple):
    """Outcome of a classifier on a split."""

    prediction: NDArray[np.int64]
    """`[samples]`: class of the largest output; the lowest one of equals."""
    outcome: NDArray[np.bool_]
    """`[samples]`: whether the prediction is the label."""
    top1: float
    per_class: list[float]
    """Accuracy over the samples of each class; 0 for a class without samples."""
    confusion: list[list[int]]
    """Rows are labels, columns predictions."""


def classify(outputs: NDArray[np.float32], labels: NDArray[Any], classes: int) -> Classification:
    """Top-1 classification.

    Args:
        outputs: `[samples, …]` scores of which there are `classes` a sample.
        labels: `[samples]` integer classes.
        classes: How many there are.

    Raises:
        StepFailed: The model has another number of outputs than the data has classes, or its outputs are not finite.
    """
    scores = outputs.reshape(len(outputs), -1)
    if scores.shape[1] != classes:
        raise StepFailed(f"the model has {scores.shape[1]} outputs, the data {classes} classes")
    if not np.isfinite(scores).all():
        raise StepFailed(f"{int((~np.isfinite(scores)).any(axis=1).sum())} samples get outputs that are NaN or Inf")
    prediction = scores.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, prediction), 1)
    counts = confusion.sum(axis=1)
    return Classification(
        prediction=prediction,
        outcome=prediction == labels,
        top1=float(np.mean(prediction == labels)),
        per_class=(confusion.diagonal() / np.maximum(counts, 1)).tolist(),
        confusion=confusion.tolist(),
    )
