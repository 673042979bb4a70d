"""What is minimised: the loss of the task, and the teacher's term where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litemill.compress.losses import LOSSES, TrainingLoss
from litemill.compress.support import SUPPRESSED, WITHOUT_SUPPRESSION
from litemill.config.run import Distillation
from litemill.errors import StepFailed
from litemill.models.backend import tensorflow
from litemill.models.ending import ending_of_keras
from litemill.tasks import Reading, task_of
from litemill.tasks.joined import joined_shape

Loss = Callable[[Any, Any, Any], Any]
"""Of samples [batch, …], labels [batch, …] and outputs [batch, …]: a scalar, averaged over the batch."""


@dataclass(frozen=True)
class Criterion:
    """How a model's outputs are judged.

    Attributes:
        task: Name of what the model does with a sample.
        probabilities: Whether the outputs of a model with classes are probabilities; else logits.
        outputs: Positions of the output that is judged, or of those that are judged side by side.
    """

    task: str
    probabilities: bool
    outputs: tuple[int, ...] = (0,)

    @property
    def kind(self) -> TrainingLoss:
        """The task's loss."""
        return LOSSES[task_of(self.task).loss]

    def judged(self, outputs: Any) -> Any:
        """The judged one of a model's outputs, with a last axis for the scores of each position."""
        found = _side_by_side([outputs[one] for one in self.outputs]) if isinstance(outputs, list | tuple) else outputs
        positions = task_of(self.task).positions
        return found[..., None] if positions and len(found.shape) == 1 + positions else found

    def learned(self, teacher: Any, samples: Any) -> Any:
        """The judged output of a teacher."""
        return self.judged(teacher(samples, training=False))

    @property
    def counts(self) -> bool:
        """Whether an output is right or wrong."""
        return self.kind.right is not None

    def loss(self, samples: Any, labels: Any, outputs: Any) -> Any:
        """Cross-entropy of decisions, mean squared error of numbers (of a reconstruction against its input)."""
        return self.kind.loss(samples if self.kind.of_input else labels, outputs, self.probabilities)

    def right(self, labels: Any, outputs: Any) -> Any:
        """How many samples are right; 0 where the task knows no right and wrong."""
        return self.kind.right(labels, outputs, self.probabilities) if self.kind.right else tensorflow().zeros([])


def _side_by_side(parts: list[Any]) -> Any:
    """Outputs of the same rows as one: `[batch, rows]` is one column, `[batch, rows, n]` are n."""
    if len(parts) == 1:
        return parts[0]
    return tensorflow().concat([part[..., None] if len(part.shape) == 2 else part for part in parts], axis=2)


def criterion_of(model: Any, task: str, outputs: tuple[int, ...] = (0,), reading: Reading | None = None) -> Criterion:
    """How a model is judged at a task, by one of its outputs or by several side by side.

    Args:
        model: A tf_keras model.
        task: Name of the task.
        outputs: Positions of the outputs.
        reading: What is known of outputs and targets; by default the model's last layer tells what outputs are.

    Raises:
        StepFailed: The output does not fit the task.
    """
    shape = joined_shape([tuple(model.outputs[one].shape)[1:] for one in outputs])
    known = None if shape is None or None in shape else tuple(size for size in shape if size is not None)
    if reading and known is not None and (obstacle := task_of(task).obstacle(known, reading)):
        raise StepFailed(obstacle, where=model.name)
    if reading and reading.boxes and reading.boxes.suppression == "graph":
        raise StepFailed(SUPPRESSED, where=model.name, fix=WITHOUT_SUPPRESSION)
    output_is = (reading.output_is if reading else "") or ending_of_keras(model, outputs[0])
    return Criterion(task, output_is == "probabilities", outputs)


def objective(criterion: Criterion, distillation: Distillation, teacher: Any | None) -> Loss:
    """The loss of a batch.

    Of a detector it is the distance of its outputs from the source model's: only who trained it knows which of its
    rows stands for which box.

    With a teacher it is (1 − w)·task + w·distance. For decisions the distance is T²·KL(teacher ‖ student), both
    softened by the temperature T (Hinton, Vinyals & Dean, 2015, https://arxiv.org/abs/1503.02531), else the mean
    squared difference of the outputs.

    Args:
        criterion: How the student is judged; the teacher's outputs are of the same kind.
        distillation: Weight w and temperature T.
        teacher: A model of the same outputs, or None.
    """
    tf = tensorflow()
    if teacher is not None:
        teacher.trainable = False
    if criterion.kind.of_teacher:
        return lambda samples, labels, outputs: criterion.loss(samples, criterion.learned(teacher, samples), outputs)
    if teacher is None or not distillation.weight:
        return criterion.loss
    logits = criterion.kind.logits

    def distance(target: Any, found: Any) -> Any:
        if logits is None:
            return tf.reduce_mean(tf.square(target - found))
        heat = distillation.temperature
        soft_target = tf.nn.log_softmax(logits(target, criterion.probabilities) / heat)
        soft_found = tf.nn.log_softmax(logits(found, criterion.probabilities) / heat)
        return heat * heat * tf.reduce_mean(tf.reduce_sum(tf.exp(soft_target) * (soft_target - soft_found), axis=-1))

    def distilled(samples: Any, labels: Any, outputs: Any) -> Any:
        weight = distillation.weight
        learned = distance(criterion.learned(teacher, samples), outputs)
        return (1.0 - weight) * criterion.loss(samples, labels, outputs) + weight * learned

    return distilled
