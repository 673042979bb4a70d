"""What is minimised: the loss of the task, and the teacher's term where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litemill.config.data_kinds import Task
from litemill.config.run import Distillation
from litemill.errors import StepFailed
from litemill.models.backend import tensorflow, tf_keras

Loss = Callable[[Any, Any, Any], Any]
"""Of samples [batch, …], labels [batch, …] and outputs [batch, …]: a scalar, averaged over the batch."""

_SMALLEST = 1e-7
"""Probabilities are kept away from 0 and 1 before their logarithm is taken, as Keras does."""
_FINAL = {"classification": "softmax", "binary": "sigmoid"}
"""The activation after which a model's outputs are probabilities."""


@dataclass(frozen=True)
class Criterion:
    """How a model's outputs are judged.

    Attributes:
        task: What the model does with a sample.
        probabilities: Whether a classifier's outputs are probabilities; else logits.
        output: Position of the output that is judged.
    """

    task: Task
    probabilities: bool
    output: int = 0

    def judged(self, outputs: Any) -> Any:
        """The judged one of a model's outputs."""
        return outputs[self.output] if isinstance(outputs, list | tuple) else outputs

    @property
    def counts(self) -> bool:
        """Whether an output is right or wrong."""
        return self.task in _FINAL

    def loss(self, samples: Any, labels: Any, outputs: Any) -> Any:
        """Cross-entropy of a classifier, mean squared error of the others (of a reconstruction against its input)."""
        losses = tf_keras().losses
        if self.task == "classification":
            return losses.SparseCategoricalCrossentropy(from_logits=not self.probabilities)(labels, outputs)
        if self.task == "binary":
            return losses.BinaryCrossentropy(from_logits=not self.probabilities)(labels, outputs[:, 0])
        tf = tensorflow()
        target = samples if self.task == "reconstruction" else labels
        return tf.reduce_mean(tf.square(tf.reshape(outputs, tf.shape(target)) - target))

    def right(self, labels: Any, outputs: Any) -> Any:
        """How many outputs are right; 0 where the task knows no right and wrong."""
        tf = tensorflow()
        if self.task == "classification":
            return tf.reduce_sum(tf.cast(tf.argmax(outputs, axis=-1) == labels, tf.float32))
        if self.task == "binary":
            found = outputs[:, 0] > (0.5 if self.probabilities else 0.0)
            return tf.reduce_sum(tf.cast(found == (labels > 0), tf.float32))
        return tf.zeros([])


def criterion_of(model: Any, task: Task, output: int = 0) -> Criterion:
    """How a model is judged at a task, by one of its outputs.

    Raises:
        StepFailed: The output does not fit the task.
    """
    shape = tuple(model.outputs[output].shape)
    if task == "classification" and (len(shape) != 2 or shape[-1] < 2):
        raise StepFailed(f"a classifier has an output of shape [batch, classes], not {list(shape)}", where=model.name)
    if task == "binary" and (len(shape) != 2 or shape[-1] != 1):
        raise StepFailed(f"a binary classifier has an output of shape [batch, 1], not {list(shape)}", where=model.name)
    return Criterion(task, task in _FINAL and _ends_in(model, _FINAL[task], output), output)


def _ends_in(model: Any, activation: str, output: int) -> bool:
    last = model.get_layer(model.output_names[output]) if len(model.outputs) > 1 else model.layers[-1]
    while hasattr(last, "layers"):
        last = last.layers[-1]
    return type(last).__name__.lower() == activation or getattr(last, "activation", None) is getattr(
        tf_keras().activations, activation
    )


def objective(criterion: Criterion, distillation: Distillation, teacher: Any | None) -> Loss:
    """The loss of a batch.

    With a teacher it is (1 − w)·task + w·distance. For classifiers the distance is T²·KL(teacher ‖ student), both
    softened by the temperature T (Hinton, Vinyals & Dean, 2015, https://arxiv.org/abs/1503.02531), else the mean
    squared difference of the outputs.

    Args:
        criterion: How the student is judged.
        distillation: Weight w and temperature T.
        teacher: A model of the same outputs, or None.
    """
    if teacher is None or not distillation.weight:
        return criterion.loss
    tf = tensorflow()
    teacher.trainable = False
    judged = criterion_of(teacher, criterion.task, criterion.output)

    def distance(target: Any, found: Any) -> Any:
        if not criterion.counts:
            return tf.reduce_mean(tf.square(target - found))
        heat = distillation.temperature
        soft_target = tf.nn.log_softmax(_logits(target, judged) / heat)
        soft_found = tf.nn.log_softmax(_logits(found, criterion) / heat)
        return heat * heat * tf.reduce_mean(tf.reduce_sum(tf.exp(soft_target) * (soft_target - soft_found), axis=-1))

    def distilled(samples: Any, labels: Any, outputs: Any) -> Any:
        weight = distillation.weight
        learned = distance(judged.judged(teacher(samples, training=False)), outputs)
        return (1.0 - weight) * criterion.loss(samples, labels, outputs) + weight * learned

    return distilled


def _logits(outputs: Any, criterion: Criterion) -> Any:
    """Logits of all classes; a binary output z stands for the two logits (0, z)."""
    tf = tensorflow()
    if criterion.task == "binary":
        near = tf.clip_by_value(outputs, _SMALLEST, 1.0 - _SMALLEST)
        single = tf.math.log(near / (1.0 - near)) if criterion.probabilities else outputs
        return tf.concat([tf.zeros_like(single), single], axis=-1)
    return tf.math.log(tf.clip_by_value(outputs, _SMALLEST, 1.0)) if criterion.probabilities else outputs
