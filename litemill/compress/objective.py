"""What is minimised: the loss of the task, and the teacher's term where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litemill.errors import StepFailed
from litemill.models.backend import tensorflow, tf_keras
from litemill.spec import Distillation

Loss = Callable[[Any, Any, Any], Any]
_SMALLEST = 1e-7
"""Probabilities are kept away from 0 before their logarithm is taken, as Keras does."""


def ends_in_softmax(model: Any) -> bool:
    """Whether a model's outputs are probabilities; else they are taken for logits.

    Raises:
        StepFailed: The model has several outputs, or no output of shape [batch, classes].
    """
    if len(model.outputs) != 1 or len(model.output_shape) != 2 or model.output_shape[-1] < 2:
        raise StepFailed(
            f"train-aware steps take a classifier with one output of shape [batch, classes], not {model.output_shape}",
            where=model.name,
        )
    last = model.layers[-1]
    while hasattr(last, "layers"):
        last = last.layers[-1]
    softmax = tf_keras().activations.softmax
    return type(last).__name__ == "Softmax" or getattr(last, "activation", None) is softmax


def task_loss(probabilities: bool) -> Callable[[Any, Any], Any]:
    """Cross-entropy of integer labels [batch] and outputs [batch, classes], averaged over the batch."""
    loss = tf_keras().losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    return lambda labels, outputs: loss(labels, outputs)


def objective(probabilities: bool, distillation: Distillation, teacher: Any | None) -> Loss:
    """The loss of a batch as a function of samples, labels and outputs.

    With a teacher it is (1 − w)·task + w·T²·KL(teacher ‖ student), both softened by the temperature T (Hinton,
    Vinyals & Dean, 2015, https://arxiv.org/abs/1503.02531).

    Args:
        probabilities: Whether outputs are probabilities; else logits.
        distillation: Weight w and temperature T.
        teacher: A model of the same outputs, or None.
    """
    tf = tensorflow()
    task = task_loss(probabilities)
    if teacher is None or not distillation.weight:
        return lambda _samples, labels, outputs: task(labels, outputs)
    teacher.trainable = False
    teacher_probabilities = ends_in_softmax(teacher)

    def logits(outputs: Any, are_probabilities: bool) -> Any:
        return tf.math.log(tf.clip_by_value(outputs, _SMALLEST, 1.0)) if are_probabilities else outputs

    def distilled(samples: Any, labels: Any, outputs: Any) -> Any:
        heat = distillation.temperature
        target = tf.nn.log_softmax(logits(teacher(samples, training=False), teacher_probabilities) / heat)
        found = tf.nn.log_softmax(logits(outputs, probabilities) / heat)
        divergence = tf.reduce_mean(tf.reduce_sum(tf.exp(target) * (target - found), axis=-1))
        weight = distillation.weight
        return (1.0 - weight) * task(labels, outputs) + weight * heat * heat * divergence

    return distilled
