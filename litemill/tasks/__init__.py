"""What models are for: one record a task, and the metrics. Needs no TensorFlow."""

from collections.abc import Callable

from litemill.errors import ConfigError, nearest
from litemill.tasks.metrics import METRICS, Metric, default_metric, metric_names, metric_of
from litemill.tasks.multilabel import MULTILABEL
from litemill.tasks.numbers import RECONSTRUCTION, REGRESSION
from litemill.tasks.positions import SEGMENTATION, SEQUENCE
from litemill.tasks.samples import BINARY, CLASSIFICATION
from litemill.tasks.task import Array, Breakdown, Outcomes, OutputIs, Reading, Task, agreement, merged

__all__ = [
    "METRICS",
    "TASKS",
    "Breakdown",
    "Metric",
    "Outcomes",
    "OutputIs",
    "Reading",
    "Task",
    "agreement",
    "decisions",
    "default_metric",
    "merged",
    "metric_names",
    "metric_of",
    "task_of",
]

TASKS: dict[str, Task] = {
    task.name: task for task in (CLASSIFICATION, BINARY, MULTILABEL, SEGMENTATION, SEQUENCE, REGRESSION, RECONSTRUCTION)
}
"""All tasks by name. Closed: each needs a training loss of its own."""


def decisions(task: str, output_is: OutputIs = "") -> Callable[[Array], Array] | None:
    """What reads the decisions of a model out of its outputs; None where there are none, or no task is known."""
    decide, reading = TASKS[task].decide if task in TASKS else None, Reading(output_is=output_is)
    return (lambda outputs: decide(outputs, reading)) if decide else None


def task_of(name: str) -> Task:
    """The task of a name.

    Raises:
        ConfigError: There is none.
    """
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}; {nearest(name, list(TASKS))}")
    return TASKS[name]
