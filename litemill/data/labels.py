"""Turn the labels that a source stores into the targets of a task."""

from __future__ import annotations

from litemill.data.source import Samples, Targets
from litemill.errors import InputError
from litemill.tasks import TASKS


def targets_for(task: str, stored: Samples | None, samples: int, where: str) -> Targets:
    """Targets of a task.

    Args:
        task: Its name; what targets it takes is in its record.
        stored: As the source has them; None where it has none.
        samples: How many there must be.
        where: How to point a user at them.

    Raises:
        InputError: They don't fit the task.
    """
    if stored is None:
        if TASKS[task].optional:
            return TASKS[task].blank(samples)
        raise InputError(f"has no labels, which task {task} needs", where=where)
    if len(stored) != samples:
        raise InputError(f"has {len(stored)} labels for {samples} samples", where=where)
    return TASKS[task].fit(stored, where)


def unknown(task: str, samples: int) -> Targets:
    """Targets of a calibration split without labels: NaN for numbers, else −1."""
    return TASKS[task].unknown(samples)
