"""Tasks with names of their own: the graph reads like the plan, and a cache key does not depend on its position."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from litemill.config.names import slug as slug

UNCACHED = frozenset({"start-run", "log-variants", "compare", "register", "release", "finish-run"})
"""Components that touch MLflow: they happen every time."""

TaskSetup = Callable[[str, dsl.PipelineTask], None]
"""Adds what a place to run needs (cache keys, resources, secrets) to a task; the string names its component."""


def no_setup(component: str, task: dsl.PipelineTask) -> None:
    """Add nothing."""


def _nothing() -> None:
    """Check nothing."""


def add_task(setup: TaskSetup, component: BaseComponent, name: str, /, **arguments: Any) -> dsl.PipelineTask:
    """Add a task of a component to the pipeline being built, under a name of its own.

    Kubeflow numbers tasks of one component (`evaluate-2`), so one more recipe would rename the others.
    """
    kind = component.component_spec.name
    own = copy.deepcopy(component)
    own.component_spec.name = own.name = name
    task = own(**arguments)
    # Before each setting kfp asks `inspect` for its caller's name, in case there is no container to set it for: seconds
    # for a large pipeline, minutes where TensorFlow is imported. Here there always is one.
    task._ensure_container_spec_exists = _nothing
    task.set_caching_options(kind not in UNCACHED)
    setup(kind, task)
    return task
