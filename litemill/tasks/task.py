"""What a model is for, as a record: everything that depends on the task is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.tasks.boxes import BoxLayout

if TYPE_CHECKING:
    from litemill.tasks.by_class import ClassFigure

Array = NDArray[Any]
OutputIs = Literal["", "logits", "probabilities"]
"""What the outputs of a model with classes are; empty where that is not known."""

Fit = Callable[[Array, str], Array]

UNKNOWN = -1
"""The class of a sample, pixel or time step that is not known or not judged."""


@dataclass(frozen=True)
class Reading:
    """How the outputs of a model are read beside the targets of a data set.

    Attributes:
        classes: Classes or labels that the data has; 0 where targets are numbers.
        output_is: Whether outputs are logits or probabilities; probabilities where that is not known.
        target_shape: Shape of one target, as it is on disk.
        input_shape: Shape of one sample.
        metric: Name of the metric that the outcomes are for.
        peak: Largest difference that targets can have, for metrics that need it.
        boxes: What the columns of a detector's outputs are.
    """

    classes: int = 0
    output_is: OutputIs = ""
    target_shape: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()
    metric: str = ""
    peak: float = 1.0
    boxes: BoxLayout | None = None

    @property
    def cut(self) -> float:
        """The score from which on a single output says yes."""
        return 0.0 if self.output_is == "logits" else 0.5


class Outcomes(NamedTuple):
    """What was found for the samples of a split, or of a part of it."""

    outcome: Array
    """`[samples, …]` what the metric is computed from: right or wrong, an error, a score, counts, or the outputs."""
    target: Array
    """`[samples, …]` labels or targets; empty where the outcome says it all."""
    prediction: Array
    """`[samples, …]` what the model decides; empty for tasks without decisions."""
    tally: Array
    """Counts over the samples from which the task tells more, such as a confusion matrix; parts add up."""


class Breakdown(NamedTuple):
    """A figure for each class or label, and which figure it is."""

    name: str
    values: list[float | None]
    """None where the samples tell nothing of a class."""
    confusion: list[list[int]]
    """Rows are labels, columns predictions; empty where there is no such table."""


NO_BREAKDOWN = Breakdown("", [], [])
NOTHING: Array = np.empty(0)


def merged(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of a split from those of its parts, in order."""
    if len(parts) == 1:
        return parts[0]
    outcome, target, prediction = (np.concatenate([part[place] for part in parts]) for place in range(3))
    return Outcomes(outcome, target, prediction, np.sum([part.tally for part in parts], axis=0))


Alike = tuple[Array, Array]
"""Of each sample, `[samples]`: how much of the decisions agrees, and of how much."""


def same_decisions(found: Array, expected: Array) -> Alike:
    """How many of the decisions of each sample, `[samples, …]`, are equal, of how many."""
    same = (found == expected).reshape(len(found), -1)
    return same.sum(axis=1), np.full(len(found), same.shape[1])


@dataclass(frozen=True)
class Task:
    """What a model does with a sample.

    Attributes:
        name: As `data.task` has it.
        labels: What the targets of a sample are, for the reader.
        outputs: What the outputs of a sample must be, for the reader.
        dtype: Of targets on disk.
        loss: Name of the training loss (see `litemill.compress.losses`).
        fit: Stored targets `[samples, …]` as they are kept on disk; refuses those that do not fit the task.
        check: Refuses the targets (train, test) on which a metric tells nothing.
        classes: Number of classes or labels of all targets, at least as many as are named.
        counts: Samples (or pixels, steps) of each class in targets.
        obstacle: Why outputs of a sample shape do not fit, else empty.
        outcomes: Of outputs, inputs and targets of some samples.
        decide: The decisions `[samples, …]` in outputs; None for a task whose outputs are numbers.
        breakdown: By class, of the outcomes of a whole split.
        optional: Whether a data set may come without targets.
        columns: Whether what stands on the last axis of the outputs is of different kinds: each is checked alone.
        of_input: Whether the input is the target; such a model has one input.
        positions: Axes of a sample's targets where each position has a class: 2 of a mask, 1 of a sequence.
        alike: How far two models' decisions agree, sample by sample.
        labelled: Whether decisions are labels such as the targets hold, so that they can be counted as right or wrong.
        settle: Brings the targets of all splits to one meaning, given the label that is not judged, if there is one.
        strata: Whether draws keep the targets in proportion: they are one class for each sample.
        class_figures: By metric, the figure of each class that its outcomes tell; where each sample has one class, that
            is the accuracy over the samples of a class, whatever the metric.
    """

    name: str
    labels: str
    outputs: str
    dtype: Any
    loss: str
    fit: Fit
    check: Callable[[Array, Array, str, str], None]
    classes: Callable[[Sequence[Array], int], int]
    counts: Callable[[Array, int], list[int]]
    obstacle: Callable[[tuple[int, ...], Reading], str]
    outcomes: Callable[[Array, Array, Array, Reading], Outcomes]
    decide: Callable[[Array, Reading], Array] | None = None
    breakdown: Callable[[Outcomes, Reading], Breakdown] = lambda found, reading: NO_BREAKDOWN
    optional: bool = False
    columns: bool = False
    of_input: bool = False
    positions: int = 0
    alike: Callable[[Array, Array], Alike] = same_decisions
    labelled: bool = True
    settle: Callable[[Sequence[Array], int | None, str], list[Array]] = lambda targets, ignored, where: list(targets)
    strata: bool = False
    class_figures: Mapping[str, ClassFigure] = field(default_factory=dict)

    def agreement(self, found: Array, expected: Array) -> float:
        """Share of the decisions of two models, `[samples, …]`, that agree; 1 where neither decides anything."""
        same, whole = (float(part.sum()) for part in self.alike(found, expected))
        return same / whole if whole else 1.0

    @property
    def wants(self) -> str:
        """What targets and outputs it takes, as what to do about others."""
        return f"Task {self.name} takes as targets {self.labels}; of the model {self.outputs}"

    def unknown(self, samples: int) -> Array:
        """Targets of samples whose targets are not known: NaN for numbers, else −1."""
        return np.full(samples, np.nan if np.dtype(self.dtype).kind == "f" else UNKNOWN, self.dtype)

    def blank(self, samples: int) -> Array:
        """Targets where a task does without them."""
        return np.zeros(samples, self.dtype)
