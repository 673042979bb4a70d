"""Watch a pipeline under `kfp.local`: which task runs, which came from the cache, which failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import patch

from kfp.local import task_dispatcher
from kfp.local.orchestrator import task_executor
from kfp.local.status import Status


@dataclass
class TaskEvent:
    """A task began or ended.

    Attributes:
        name: Name of the task in the graph.
        state: What happened.
        seconds: Time it took, once it ended.
        outputs: Its outputs, once it ended well: parameters and KFP artifacts.
    """

    name: str
    state: Literal["started", "done", "cached", "failed"]
    seconds: float = 0.0
    outputs: dict[str, Any] = field(default_factory=dict)


@contextmanager
def observed(tell: Callable[[TaskEvent], None]) -> Iterator[None]:
    """Tell about every task that `kfp.local` executes inside the block.

    `kfp.local` offers no hook, and its output must not be parsed; these two functions are where all of its
    orchestrators pass a task through.
    """
    execute, dispatch = task_executor.execute_single_task, task_dispatcher.run_single_task_implementation
    ran: set[str] = set()

    def observed_execute(**task: Any) -> Any:
        name = task["task_name"]
        tell(TaskEvent(name, "started"))
        began = time.monotonic()
        outputs, status = execute(**task)
        state: Literal["done", "cached", "failed"] = "done" if task["task_spec"].component_ref.name in ran else "cached"
        tell(TaskEvent(name, state if status == Status.SUCCESS else "failed", time.monotonic() - began, outputs))
        return outputs, status

    def observed_dispatch(**task: Any) -> Any:
        ran.add(task["component_name"])
        return dispatch(**task)

    with (
        patch.object(task_executor, "execute_single_task", observed_execute),
        patch.object(task_dispatcher, "run_single_task_implementation", observed_dispatch),
    ):
        yield
