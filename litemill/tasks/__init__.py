"""What models are for: one record a task, and the metrics. Needs no TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass

from litemill.errors import ConfigError, nearest
from litemill.tasks.boxes import BoxLayout
from litemill.tasks.detection import DETECTION
from litemill.tasks.metrics import METRICS, Metric, default_metric, metric_names, metric_of
from litemill.tasks.multilabel import MULTILABEL
from litemill.tasks.numbers import RECONSTRUCTION, REGRESSION
from litemill.tasks.positions import SEGMENTATION, SEQUENCE
from litemill.tasks.samples import BINARY, CLASSIFICATION
from litemill.tasks.task import Array, Breakdown, Outcomes, OutputIs, Reading, Task, merged

__all__ = [
    "METRICS",
    "TASKS",
    "BoxLayout",
    "Breakdown",
    "Decisions",
    "Metric",
    "Outcomes",
    "OutputIs",
    "Reading",
    "Task",
    "class_figures_of",
    "decisions",
    "default_metric",
    "merged",
    "metric_names",
    "metric_of",
    "task_of",
]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (CLASSIFICATION, BINARY, MULTILABEL, SEGMENTATION, SEQUENCE, REGRESSION, RECONSTRUCTION, DETECTION)
}
"""All tasks by name. Closed: each needs a training loss of its own."""


@dataclass(frozen=True)
class Decisions:
    """What reads the decisions of a model out of its outputs, and tells how far those of two models agree."""

    task: Task
    decide: Callable[[Array, Reading], Array]
    reading: Reading

    def __call__(self, outputs: Array) -> Array:
        """The decisions `[samples, …]` in outputs."""
        return self.decide(outputs, self.reading)

    def agreement(self, outputs: Array, expected: Array) -> float:
        """Share of the decisions in outputs that agree with those in the expected outputs, `[samples, …]` each."""
        return self.task.agreement(self(outputs), self(expected))


def decisions(task: str, output_is: OutputIs = "", boxes: BoxLayout | None = None) -> Decisions | None:
    """What reads the decisions of a model out of its outputs; None where there are none, or no task is known.

    Args:
        task: Name of the task.
        output_is: Whether outputs are logits or probabilities.
        boxes: What the columns of a detector's outputs are.
    """
    decide = TASKS[task].decide if task in TASKS else None
    return Decisions(TASKS[task], decide, Reading(output_is=output_is, boxes=boxes)) if decide else None


def class_figures_of(task: str, metric: str) -> str:
    """Name of the figure that is known for each class where variants are judged by a metric; empty where none is."""
    if task not in TASKS:
        return ""
    if TASKS[task].strata:
        return "accuracy"
    figure = TASKS[task].class_figures.get(metric)
    return figure.name if figure else ""


def task_of(name: str) -> Task:
    """The task of a name.

    Raises:
        ConfigError: There is none.
    """
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}; {nearest(name, list(TASKS))}")
    return TASKS[name]
