"""A step at work: the model, the data and the loop, as each step's own module gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from litemill.compress import checkpoint
from litemill.compress.batches import Batches
from litemill.compress.loop import Task, fine_tune
from litemill.config.run import Training
from litemill.evidence.sources import StepRecord
from litemill.evidence.training import StepFindings, TrainingFindings


@dataclass
class Work:
    """A step at work.

    Attributes:
        model: The float model that came in.
        batches: The train split.
        training: The user's options, with this step's overrides.
        earlier: The steps done so far.
    """

    model: Any
    batches: Batches
    training: Training
    earlier: list[StepRecord]
    _task: Task
    _checkpoints: checkpoint.Checkpoints

    @property
    def steps(self) -> int:
        """Training steps that will run."""
        return self._task.steps

    def did(self, step: str) -> StepRecord | None:
        """The record of an earlier step, if it was done."""
        return next((record for record in self.earlier if record.step == step), None)

    def fine_tune(self, model: Any, *, callbacks: Sequence[Any] = (), settled: float = 0.0) -> TrainingFindings:
        """Train `model` in place and say how it went."""
        pruned = self.did("prune") is not None
        epochs = fine_tune(
            model, self._task, self._checkpoints, callbacks=callbacks, settled=settled, keep_zeros=pruned
        )
        last = {name: round(value, 6) for name, value in epochs[-1].items()}
        return TrainingFindings(epochs=len(epochs), steps=len(epochs) * self.batches.steps, **last)


@dataclass
class Done:
    """What a step made: the model, what its weights and its training show, and what the user should know."""

    model: Any
    findings: StepFindings
    warnings: list[str] = field(default_factory=list)
