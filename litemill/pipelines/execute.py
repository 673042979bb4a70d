"""Run one task of a pipeline on this machine: its arguments in, its folder, the cache, a process, its outputs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from kfp.local import executor_input_utils, executor_output_utils, placeholder_utils
from kfp.local.utils import struct_to_executor_spec

from litemill.pipelines.cache import TaskCache
from litemill.pipelines.dag import CANCELLED, TaskFailed
from litemill.pipelines.failures import stand_ins
from litemill.process import locks
from litemill.track.spool import SPOOL

log = logging.getLogger(__name__)

LONGEST_TASK = 24 * 3600.0
"""Seconds to wait for another run that does the same task."""


@dataclass(frozen=True)
class Order:
    """What is started for a task.

    Attributes:
        name: Of the task.
        component: Its function.
        image: The image it asks for.
        command: Kubeflow's command line, placeholders filled in.
        variables: Variables of its own.
    """

    name: str
    component: str
    image: str
    command: list[str]
    variables: dict[str, str]


class Job(Protocol):
    """Something that was started."""

    def wait(self) -> str | tuple[str, int]:
        """Wait for its end: nothing where it went well, else the true error and the exit code it asks for."""

    def kill(self) -> None:
        """End it at once."""


Launch = Callable[[Order, IO[bytes]], Job]
"""Starts a task; what it prints goes to the file."""


@dataclass
class Executor:
    """What all tasks of a run share.

    Attributes:
        spec: Kubeflow's pipeline spec.
        root: Folder of this run's artifacts.
        logs: Folder of this run's logs, a file a task.
        launch: Starts a task.
        cache: Serves tasks whose inputs and code are the same; None where nothing is served.
        needs_machine: Whether a task must be the only one while it runs, by component and arguments.
        job_id: Id of this run, which tasks get for Kubeflow's.
        spool: Folder in which tasks keep what goes to MLflow (see `litemill.track.spool`).
    """

    spec: Any
    root: Path
    logs: Path
    launch: Launch
    cache: TaskCache | None
    needs_machine: Callable[[str, dict[str, Any]], bool]
    job_id: str

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    def prepare(self, name: str, spec: Any, arguments: dict[str, Any]) -> Task:
        """Get a task ready: look for it in the cache, or lay out where it writes."""
        component = self.spec.components[spec.component_ref.name]
        executor = struct_to_executor_spec(self.spec.deployment_spec["executors"][component.executor_label])
        container = executor.container
        command = [*container.command, *container.args]
        variables = {one.name: one.value for one in container.env}
        function = command[command.index("--function_to_execute") + 1]
        task = Task(self, name, function, component, arguments, container.image, command, variables)
        task.alone = self.needs_machine(function, arguments)
        if self.cache and spec.caching_options.enable_cache:
            task.key = self.cache.key(function, container.image, command, arguments, variables)
            task.cached = self.cache.get(task.key)
        return task

    def prepare_closing(self, experiment: str, job_id: str, reason: str) -> Task:
        """Get the pipeline's exit task ready for another run, one that was killed."""
        tasks = self.spec.root.dag.tasks.items()
        spec = next(spec for _, spec in tasks if "status" in spec.inputs.parameters)
        status = {
            "state": CANCELLED,
            "pipeline_job_resource_name": job_id,
            "pipeline_task_name": "run",
            "error": {"code": 1, "message": reason},
        }
        task = self.prepare(f"close-{job_id}", spec, {"name": experiment, "pipeline_run_id": job_id, "status": status})
        task.spooled = False
        return task


@dataclass
class Task:
    """A task with its arguments; see `litemill.pipelines.dag.Work`."""

    executor: Executor
    name: str
    function: str
    component: Any
    arguments: dict[str, Any]
    image: str
    command: list[str]
    variables: dict[str, str]
    alone: bool = False
    spooled: bool = True
    key: str = ""
    cached: dict[str, Any] | None = None
    _job: Job | None = field(default=None, repr=False)
    _killed: bool = False

    def run(self) -> dict[str, Any]:
        """Run the task in this thread.

        Raises:
            TaskFailed: With its true error.
        """
        cache = self.executor.cache
        if not cache or not self.key:
            return self._execute()
        # Two runs that want the same: the second one waits for the first, and is served from the cache.
        cache.folder.mkdir(parents=True, exist_ok=True)
        with locks.held(self.key, LONGEST_TASK, folder=cache.folder):
            self.cached = cache.get(self.key)
            if self.cached is not None:
                return self.cached
            outputs = self._execute()
            cache.put(self.key, outputs)
            return outputs

    def _execute(self) -> dict[str, Any]:
        executor = self.executor
        inputs = executor_input_utils.construct_executor_input(
            component_spec=self.component,
            arguments=self.arguments,
            task_root=str(executor.root / self.name),
            block_input_artifact=False,
        )
        (executor.root / self.name).mkdir(parents=True, exist_ok=True)
        filled = placeholder_utils.replace_placeholders(
            full_command=self.command,
            executor_input_dict=executor_input_utils.executor_input_to_dict(inputs, self.component),
            pipeline_resource_name=executor.root.name,
            task_resource_name=self.name,
            pipeline_root=str(executor.root.parent),
            unique_pipeline_id=executor.job_id,
        )
        kept = {SPOOL: str(executor.spool.absolute())} if self.spooled else {}
        order = Order(self.name, self.function, self.image, filled, {**self.variables, **kept})
        with (executor.logs / f"{self.name}.log").open("wb") as output:
            self._job = executor.launch(order, output)
            if self._killed:
                self._job.kill()
            failed = self._job.wait()
        if failed:
            reason, exit_code = failed if isinstance(failed, tuple) else (failed, 1)
            log.info("task %s failed: %s", self.name, reason)
            raise TaskFailed(reason, exit_code, stand_ins(self.name, self.function, self.arguments, inputs, reason))
        found: dict[str, Any] = executor_output_utils.get_outputs_for_task(inputs, self.component)
        return found

    def kill(self) -> None:
        """End the task at once."""
        self._killed = True
        if self._job:
            self._job.kill()
