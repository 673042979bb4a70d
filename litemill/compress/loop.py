"""The one fine-tuning loop of all train-aware steps."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.compress.batches import Batches
from litemill.compress.checkpoint import Checkpoints, Snapshot
from litemill.compress.layers import FEWEST_ZEROS, sparsity
from litemill.compress.objective import Criterion, Loss
from litemill.config.run import Training
from litemill.errors import StepFailed
from litemill.models.backend import tensorflow, tf_keras

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a training minimises, on what.

    Attributes:
        batches: The train split.
        training: The user's options.
        loss: Of a batch.
        criterion: How the model is judged on the held-out samples.
    """

    batches: Batches
    training: Training
    loss: Loss
    criterion: Criterion

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.batches.steps * self.training.epochs


def fine_tune(
    model: Any,
    task: Task,
    checkpoints: Checkpoints,
    *,
    callbacks: Sequence[Any] = (),
    settled: float = 0.0,
    keep_zeros: bool = False,
) -> list[dict[str, float]]:
    """Train a model in place, from the last checkpoint where there is one.

    Args:
        model: A built tf_keras model, wrapped for its step.
        task: Data, options and loss.
        checkpoints: Where each epoch is kept. Same inputs give the same weights, resumed or not.
        callbacks: Keras callbacks of which `on_train_begin` and `on_epoch_end` are called.
        settled: Fraction of the steps after which the step's schedule is done: earlier epochs do not count for early
            stopping.
        keep_zeros: Whether kernels with zeros keep them, also in layers that the step does not touch.

    Returns:
        For each epoch its loss, accuracy, and val_loss, val_accuracy where there is a validation set.

    Raises:
        StepFailed: The loss became NaN or infinite.
    """
    masks = zero_masks(model) if keep_zeros else {}
    loop = _Loop(model, task, callbacks, masks, first_counted=math.ceil(settled * task.training.epochs))
    snapshot = checkpoints.load()
    if snapshot is not None and loop.restore(snapshot):
        log.info("resumed after epoch %d of %d", len(loop.epochs), task.training.epochs)
    while len(loop.epochs) < task.training.epochs and not loop.stopped:
        loop.run_epoch()
        checkpoints.save(loop.snapshot())
    loop.finish()
    return loop.epochs


class _Loop:
    """State of a running training: the model, its optimizer, the epochs so far and the best of them."""

    def __init__(
        self, model: Any, task: Task, callbacks: Sequence[Any], masks: dict[Any, Any], first_counted: int
    ) -> None:
        self._model, self._task, self._callbacks = model, task, callbacks
        self._first_counted = first_counted
        self._optimizer = make_optimizer(task.training, task.steps)
        self._optimizer.build(model.trainable_variables)
        self._run, self._judge = _compile(model, self._optimizer, task, masks)
        self._reseed = _random_layers(model)
        self._best: list[NDArray[Any]] = []
        self.epochs: list[dict[str, float]] = []
        self._started, self._first = time.monotonic(), 0
        for callback in callbacks:
            callback.set_model(model)
            callback.on_train_begin()

    @property
    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._optimizer.variables]

    @property
    def _counted(self) -> list[float]:
        """Validation losses of the epochs that early stopping looks at; none where it is off."""
        if not self._task.training.early_stop:
            return []
        return [epoch["val_loss"] for epoch in self.epochs[self._first_counted :]]

    @property
    def stopped(self) -> bool:
        """Whether early stopping has seen enough."""
        losses = self._counted
        return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= self._task.training.early_stop

    def restore(self, snapshot: Snapshot) -> bool:
        """Take a snapshot's state over; one that does not fit is left alone."""
        variables = self._variables
        if [value.shape for value in snapshot.arrays] != [tuple(variable.shape) for variable in variables]:
            log.warning("the checkpoint does not fit the model: training starts from the beginning")
            return False
        for variable, value in zip(variables, snapshot.arrays, strict=True):
            variable.assign(value)
        self.epochs, self._best = snapshot.epochs, snapshot.best
        self._first = len(self.epochs)
        return True

    def snapshot(self) -> Snapshot:
        """The state to resume from."""
        return Snapshot(self.epochs, [variable.numpy() for variable in self._variables], self._best)

    def run_epoch(self) -> None:
        """Train one epoch and judge it on the held-out samples."""
        number = len(self.epochs)
        self._reseed(self._task.training.seed, number)
        sums = np.zeros(2)
        for x, y in self._task.batches.epoch(number):
            sums += [value.numpy() for value in self._run(x, y)]
        for callback in self._callbacks:
            callback.on_epoch_end(number)
        steps = self._task.batches.steps
        epoch = self._named("", float(sums[0]) / steps, float(sums[1]) / (steps * self._task.batches.size))
        if not math.isfinite(epoch["loss"]):
            raise StepFailed(
                f"the loss became {epoch['loss']} in epoch {number + 1}", fix="Lower training.learning_rate"
            )
        self.epochs.append(epoch | self._validate())
        if self._counted and self._counted[-1] == min(self._counted):
            self._best = [variable.numpy() for variable in self._model.variables]
        self._report()

    def _validate(self) -> dict[str, float]:
        sums, samples = np.zeros(2), 0
        for x, y in self._task.batches.validation():
            sums += [value.numpy() for value in self._judge(x, y)]
            samples += len(y)
        return self._named("val_", float(sums[0]) / samples, float(sums[1]) / samples) if samples else {}

    def _named(self, prefix: str, loss: float, accuracy: float) -> dict[str, float]:
        """Accuracy is left out where the task knows no right and wrong."""
        accuracies = {f"{prefix}accuracy": accuracy} if self._task.criterion.counts else {}
        return {f"{prefix}loss": loss, **accuracies}

    def _report(self) -> None:
        done, total = len(self.epochs), self._task.training.epochs
        message = ", ".join(f"{name} {value:.4f}" for name, value in self.epochs[-1].items())
        left = (time.monotonic() - self._started) / (done - self._first) * (total - done)
        log.info("epoch %d/%d: %s, %.0f s left", done, total, message, left)

    def finish(self) -> None:
        """Go back to the best epoch where early stopping kept it."""
        if self._best:
            for variable, value in zip(self._model.variables, self._best, strict=True):
                variable.assign(value)


def make_optimizer(training: Training, steps: int) -> Any:
    """The optimizer with its learning-rate schedule over the steps that will run.

    The rate rises linearly from zero in the warm-up, then stays, or falls to zero along half a cosine (Loshchilov &
    Hutter, 2017, https://arxiv.org/abs/1608.03983).
    """
    optimizers = tf_keras().optimizers
    rise = round(training.warmup * steps)
    rate = optimizers.schedules.CosineDecay(
        0.0 if rise else training.learning_rate,
        decay_steps=max(1, steps - rise),
        alpha=0.0 if training.schedule == "cosine" else 1.0,
        warmup_target=training.learning_rate if rise else None,
        warmup_steps=rise,
    )
    if training.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=0.9)
    return {"adam": optimizers.Adam, "adamw": optimizers.AdamW}[training.optimizer](rate)


def zero_masks(model: Any) -> dict[Any, Any]:
    """For each trainable kernel with zeros, by reference, 1 where it is not zero: a factor for its gradient."""
    tf = tensorflow()
    kernels = [variable for variable in model.trainable_variables if len(variable.shape) > 1]
    return {
        variable.ref(): tf.cast(variable != 0, variable.dtype)
        for variable in kernels
        if sparsity(variable.numpy()) >= FEWEST_ZEROS
    }


def _compile(
    model: Any, optimizer: Any, task: Task, masks: dict[Any, Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The training function over several steps and the judging one over a batch; both return sums (loss, right).

    No jit_compile: XLA made small depthwise networks train seven times slower on CPUs.
    """
    tf = tensorflow()
    size, criterion = task.batches.size, task.criterion

    @tf.function(input_signature=task.batches.specs(None, size))  # type: ignore[untyped-decorator]
    def run(samples: Any, labels: Any) -> tuple[Any, Any]:
        loss_sum, right_sum = tf.zeros([]), tf.zeros([])
        for step in tf.range(tf.shape(labels)[0]):
            batch = tf.nest.map_structure(lambda part: part[step], samples)  # noqa: B023
            with tf.GradientTape() as tape:
                outputs = criterion.judged(model(batch, training=True))
                loss = task.loss(batch, labels[step], outputs)
                total = tf.add_n([loss, *model.losses])
            variables = model.trainable_variables
            found = zip(tape.gradient(total, variables), variables, strict=True)
            optimizer.apply_gradients(
                [
                    (tf.convert_to_tensor(gradient) * masks.get(variable.ref(), 1.0), variable)
                    for gradient, variable in found
                    if gradient is not None  # of variables that TFMOT leaves but nothing depends on
                ]
            )
            loss_sum += loss
            right_sum += criterion.right(labels[step], outputs)
        return loss_sum, right_sum

    @tf.function(input_signature=task.batches.specs(None))  # type: ignore[untyped-decorator]
    def judge(samples: Any, labels: Any) -> tuple[Any, Any]:
        outputs = criterion.judged(model(samples, training=False))
        judged = task.loss if criterion.kind.of_teacher else criterion.loss
        loss = judged(samples, labels, outputs)
        return loss * tf.cast(tf.shape(labels)[0], tf.float32), criterion.right(labels, outputs)

    return run, judge


def resumable_randomness() -> None:
    """Let dropout and noise layers that are made from now on draw from generators whose state can be set."""
    tf_keras().backend.experimental.enable_tf_random_generator()


def _random_layers(model: Any) -> Callable[[int, int], None]:
    """A function that seeds each dropout and noise layer anew for an epoch, so that a resumed one draws the same."""
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "_random_generator")]

    def reseed(seed: int, epoch: int) -> None:
        for position, layer in enumerate(layers):
            random = layer._random_generator
            random._maybe_init()
            if random._generator is None:  # made before resumable_randomness was called
                raise RuntimeError(f"layer {layer.name} draws from a generator that cannot be resumed")
            random._generator.reset_from_seed(int(np.random.SeedSequence([seed, epoch, position]).generate_state(1)[0]))

    return reseed
