"""The training losses that tasks name: what is minimised, what counts as right, and what a teacher teaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litemill.models.backend import tensorflow, tf_keras

_SMALLEST = 1e-7
"""Probabilities are kept away from 0 and 1 before their logarithm is taken, as Keras does."""


_STILL = 1e-3
"""Least variance that a column's error is divided by, as a part of its largest square."""


@dataclass(frozen=True)
class TrainingLoss:
    """A loss of labels and outputs, `[batch, …]` each.

    Attributes:
        loss: Of labels, outputs, and whether these are probabilities: a scalar, averaged over the batch.
        right: The same of how many samples are right (a share of one where it has several decisions); None where
            outputs are neither right nor wrong.
        logits: Of outputs, and whether these are probabilities: the logits of all classes on the last axis.
        of_input: Whether the samples are the labels.
        of_teacher: Whether the source model's outputs are the labels: the targets cannot be matched to the outputs.
    """

    loss: Callable[[Any, Any, bool], Any]
    right: Callable[[Any, Any, bool], Any] | None = None
    logits: Callable[[Any, bool], Any] | None = None
    of_input: bool = False
    of_teacher: bool = False


def class_logits(outputs: Any, probabilities: bool) -> Any:
    """Logits of all classes, up to a number that is the same for all of them."""
    tf = tensorflow()
    return tf.math.log(tf.clip_by_value(outputs, _SMALLEST, 1.0)) if probabilities else outputs


def score_logits(outputs: Any, probabilities: bool) -> Any:
    """Two logits for each score on the last axis, `[…, 2]`: an output z stands for (0, z)."""
    tf = tensorflow()
    single = outputs
    if probabilities:
        near = tf.clip_by_value(outputs, _SMALLEST, 1.0 - _SMALLEST)
        single = tf.math.log(near / (1.0 - near))
    return tf.stack([tf.zeros_like(single), single], axis=-1)


def _categorical(labels: Any, outputs: Any, probabilities: bool) -> Any:
    return tf_keras().losses.SparseCategoricalCrossentropy(from_logits=not probabilities)(labels, outputs)


def _largest_is_right(labels: Any, outputs: Any, probabilities: bool) -> Any:
    tf = tensorflow()
    return tf.reduce_sum(tf.cast(tf.argmax(outputs, axis=-1) == labels, tf.float32))


def _single(outputs: Any) -> bool:
    """Whether there is one score for two classes."""
    return int(outputs.shape[-1]) == 1


def _binary(labels: Any, outputs: Any, probabilities: bool) -> Any:
    if not _single(outputs):
        return _categorical(labels, outputs, probabilities)
    return tf_keras().losses.BinaryCrossentropy(from_logits=not probabilities)(labels, outputs[:, 0])


def _positive_is_right(labels: Any, outputs: Any, probabilities: bool) -> Any:
    tf = tensorflow()
    if not _single(outputs):
        return _largest_is_right(labels, outputs, probabilities)
    found = outputs[:, 0] > (0.5 if probabilities else 0.0)
    return tf.reduce_sum(tf.cast(found == (labels > 0), tf.float32))


def _binary_logits(outputs: Any, probabilities: bool) -> Any:
    return score_logits(outputs[:, 0], probabilities) if _single(outputs) else class_logits(outputs, probabilities)


def _squared(labels: Any, outputs: Any, probabilities: bool) -> Any:
    tf = tensorflow()
    return tf.reduce_mean(tf.square(tf.reshape(outputs, tf.shape(labels)) - labels))


def _labels(labels: Any, outputs: Any, probabilities: bool) -> Any:
    """Binary cross-entropy of each label that is known, averaged."""
    return _known_mean(labels, _score_losses(labels, outputs, probabilities))


def _score_losses(labels: Any, scores: Any, probabilities: bool) -> Any:
    """Binary cross-entropy of each score, `[…]`."""
    tf = tensorflow()
    logits = score_logits(scores, probabilities)[..., 1]
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(labels > 0, logits.dtype), logits=logits)


def _known_mean(labels: Any, losses: Any) -> Any:
    """Mean over what has a label; −1 has none."""
    tf = tensorflow()
    known = tf.cast(labels >= 0, losses.dtype)
    return tf.reduce_sum(losses * known) / tf.maximum(tf.reduce_sum(known), 1.0)


def _share_right(labels: Any, decided: Any) -> Any:
    """Sum over the samples of the share of their decisions that are right."""
    tf = tensorflow()
    known = tf.cast(labels >= 0, tf.float32)
    right = tf.cast(tf.cast(decided, tf.int64) == tf.cast(labels, tf.int64), tf.float32) * known
    axes = list(range(1, len(labels.shape)))
    return tf.reduce_sum(tf.reduce_sum(right, axes) / tf.maximum(tf.reduce_sum(known, axes), 1.0))


def _labels_right(labels: Any, outputs: Any, probabilities: bool) -> Any:
    return _share_right(labels, outputs > (0.5 if probabilities else 0.0))


def _positions(labels: Any, outputs: Any, probabilities: bool) -> Any:
    """Cross-entropy of each position that is judged, averaged."""
    tf = tensorflow()
    if _single(outputs):
        return _known_mean(labels, _score_losses(labels, tf.reshape(outputs, tf.shape(labels)), probabilities))
    classes = tf.maximum(tf.cast(labels, tf.int64), 0)
    losses = tf_keras().losses.sparse_categorical_crossentropy(classes, outputs, from_logits=not probabilities)
    return _known_mean(labels, losses)


def _positions_right(labels: Any, outputs: Any, probabilities: bool) -> Any:
    tf = tensorflow()
    if _single(outputs):
        return _share_right(labels, tf.reshape(outputs, tf.shape(labels)) > (0.5 if probabilities else 0.0))
    return _share_right(labels, tf.argmax(outputs, axis=-1))


def _position_logits(outputs: Any, probabilities: bool) -> Any:
    return score_logits(outputs, probabilities) if _single(outputs) else class_logits(outputs, probabilities)


def _columns(wanted: Any, outputs: Any, probabilities: bool) -> Any:
    """Mean over the columns of the squared error in parts of the wanted column's variance.

    A score between 0 and 1 then counts as much as a coordinate in pixels beside it.
    """
    tf = tensorflow()
    axes = list(range(len(outputs.shape) - 1))
    spread = tf.math.reduce_variance(wanted, axis=axes)
    error = tf.reduce_mean(tf.square(outputs - wanted), axis=axes)
    # A class that no sample of the batch has gives a column that hardly moves: its part is not blown up.
    return tf.reduce_mean(error / tf.maximum(spread, _STILL * tf.reduce_max(tf.square(wanted), axis=axes) + _SMALLEST))


LOSSES: dict[str, TrainingLoss] = {
    "categorical": TrainingLoss(_categorical, _largest_is_right, class_logits),
    "binary": TrainingLoss(_binary, _positive_is_right, _binary_logits),
    "labels": TrainingLoss(_labels, _labels_right, score_logits),
    "positions": TrainingLoss(_positions, _positions_right, _position_logits),
    "squared": TrainingLoss(_squared),
    "reconstruction": TrainingLoss(_squared, of_input=True),
    "source": TrainingLoss(_columns, of_teacher=True),
}
"""By the name in `litemill.tasks.Task.loss`."""
