"""What a run tells about its tasks while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["started", "done", "cached", "failed", "note"]


@dataclass(frozen=True)
class TaskEvent:
    """A task began or ended, or there is something to say that is about no task.

    Attributes:
        name: Name of the task in the graph.
        state: What happened.
        seconds: Time it took, once it ended.
        text: Why it failed, or the note.
    """

    name: str
    state: State
    seconds: float = 0.0
    text: str = ""


Tell = Callable[[TaskEvent], None]


def tell_nobody(event: TaskEvent) -> None:
    """Tell nobody."""
