"""Run a pipeline on this machine, and leave its results in a folder."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kfp import dsl

from litemill.artifacts.storage import store_of
from litemill.components.images import EDGE, TRAIN
from litemill.config.run import RunSpec
from litemill.config.targets import kind_of, parse_target
from litemill.config.written import spec_of
from litemill.doctor.preflight import preflight
from litemill.errors import LitemillError
from litemill.pipelines.cache import TaskCache
from litemill.pipelines.containers import container_runner
from litemill.pipelines.dag import Dag, TaskFailed
from litemill.pipelines.execute import Executor, Launch
from litemill.pipelines.extensions import extensions
from litemill.pipelines.fingerprint import fingerprint, own_code
from litemill.pipelines.interrupt import interruptible
from litemill.pipelines.kubeflow import build_pipeline
from litemill.pipelines.leftovers import forget, of_killed_runs, recorded
from litemill.pipelines.observe import TaskEvent, Tell, tell_nobody
from litemill.pipelines.places import check_places, deliver
from litemill.pipelines.subprocesses import forks
from litemill.pipelines.tasks import TaskSetup
from litemill.select.results import Results
from litemill.shipping.signature import private_key
from litemill.track.spool import Spool

log = logging.getLogger(__name__)

WORK = Path(".litemill")
"""Where a run keeps what it does not deliver: below the current folder, as tools of a project do."""
CODE = "LITEMILL_CODE"
"""Task variable that carries the library's digest into the cache's key."""
TASK_BYTES = 2 << 30
"""Memory that must be there for each task that runs beside another."""
MOST_TASKS = 4


class RunFailed(LitemillError):
    """Tasks failed, or MLflow did not get all of a run: names each with its true error.

    Attributes:
        results: What there is nevertheless; None where nothing could be compared.
    """

    def __init__(
        self, failures: Mapping[str, TaskFailed], logs: Path, results: Results | None, unsent: str = ""
    ) -> None:
        lines = [f"task {name} failed: {failure.reason}" for name, failure in failures.items()]
        places = [f"Their logs: {logs}"] if lines else []
        super().__init__("\n".join([*lines, unsent] if unsent else lines), fix="".join(places))
        self.results = results
        wrong_input = not unsent and all(failure.exit_code == 2 for failure in failures.values())
        self.exit_code = 2 if wrong_input else 1

    def __str__(self) -> str:
        return f"{self.what}\n{self.fix}"


def run(
    config: RunSpec | Mapping[str, Any] | str | Path,
    *,
    out: str | Path | None = None,
    work: str | Path = WORK,
    cache: bool = True,
    containers: bool = False,
    on_task: Tell = tell_nobody,
) -> Results:
    """Run the whole pipeline on this machine: the same tasks as on Kubeflow, each in a process of its own.

    Args:
        config: A YAML file, a spec built in Python, or a mapping as YAML has it. Relative paths in it are meant from
            the current folder.
        out: Folder for `results.json`, the report and every variant; `out/<name>` without it.
        work: Folder for what tasks pass on, the cache and the logs.
        cache: Whether tasks whose inputs and code are the same are served from earlier runs.
        containers: Whether tasks run in the project's images instead of processes.
        on_task: Called when a task begins and ends.

    Returns:
        The variants, ranked, and the one to ship: `winner`, empty where none keeps to the budget.

    Raises:
        ConfigError: Something in the config is wrong, or `out` holds something else than results.
        InputError: A source is missing or broken, or the model's input differs from the data's.
        RunFailed: Tasks failed: names each with its true error; what could be compared is in `out`.
        LitemillError: The run cannot go on.

    Example:
        >>> import litemill as lm
        >>> results = lm.run("digits.yaml", out="results")
        >>> results.winner
        'int8'
    """
    spec = spec_of(config)
    for warning in preflight(spec).warnings:
        log.warning("%s", warning)
    folder = Path("out") / spec.name if out is None else Path(out)
    return run_locally(spec, folder, Path(work), cache=cache, containers=containers, tell=on_task)


def run_locally(
    spec: RunSpec,
    out: Path,
    work: Path,
    *,
    cache: bool = True,
    containers: bool = False,
    tell: Tell = tell_nobody,
) -> Results:
    """Run the pipeline of a config in subprocesses or in containers.

    Args:
        spec: The run config.
        out: Folder for the results; those of an earlier run are replaced.
        work: Folder for what tasks pass on, the cache and the logs.
        cache: Whether tasks whose inputs and code are the same are served from earlier runs.
        containers: Whether tasks run in the project's images instead of subprocesses.
        tell: Called when a task begins and ends.

    Raises:
        ConfigError: A folder or the signing key cannot be used, or `out` holds something else than results.
        RunFailed: Tasks failed. What could be compared without them is in `out`, and in the error.
        LitemillError: Containers cannot be run here, or a file cannot be written.
        Interrupted: By a signal; the run is closed as killed.
    """
    check_places(out, work)
    if spec.release and spec.release.sign_with:
        private_key(spec.release.sign_with)  # a key that cannot be used is told before the work of hours
    work = work.absolute()
    job = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    try:
        with interruptible(), ExitStack() as stack:
            temporary = stack.enter_context(recorded(work, job, spec.name))
            logs = work / "logs" / f"{spec.name}-{job}"
            logs.mkdir(parents=True)
            if containers:
                launch, setup = _in_containers(spec, work, stack)
            else:
                processes = stack.enter_context(forks(temporary, logs))
                processes.server("light")
                if not cache or not (work / "cache").exists():
                    processes.server("train")  # it will be needed: import TensorFlow while the run starts
                launch, setup = processes.launch, with_code(spec)
            pipeline = build_pipeline(spec, setup=setup).pipeline_spec
            kept = TaskCache(work / "cache") if cache else None
            executor = Executor(pipeline, work / "pipeline" / job, logs, launch, kept, needs_machine, job)
            dag = Dag(pipeline, executor.prepare, tell, parallel_tasks())
            _close_killed(work, executor, tell)
            dag.run()
            compared, spool = dag.outputs.get("compare"), Spool(executor.spool)
            unsent = spool.folder if spool.offline else None
            results = deliver(Path(compared["results"].path), out, unsent) if compared else None
    except OSError as error:
        where = str(error.filename or work)
        raise LitemillError(f"cannot go on: {error.strerror or error}", where=where) from error
    if dag.failures or results is None or unsent:
        raise RunFailed(dag.failures, logs, results, _unsent(spool, out if results else spool.folder))
    return results


def _unsent(spool: Spool, place: Path) -> str:
    """What MLflow has not got and how it gets there; empty where it has all."""
    if not spool.offline:
        return ""
    return f"{spool.offline}. Nothing is lost: `litemill sync {place}` logs this run once MLflow answers"


def _in_containers(spec: RunSpec, work: Path, stack: ExitStack) -> tuple[Launch, TaskSetup]:
    """What starts tasks in the project's images, until the stack is closed, and what each task is given."""
    inputs = [Path(uri) for uri in (spec.model.uri, spec.data.uri) if uri and store_of(uri) is None]
    used = stack.enter_context(container_runner((TRAIN, EDGE), work, inputs))
    return used.launch, with_code(spec, used.versions)


def needs_machine(component: str, arguments: Mapping[str, Any]) -> bool:
    """Whether nothing may run beside a task: it measures time on this machine."""
    return component == "benchmark" and kind_of(parse_target(arguments["target"])).times_here


def parallel_tasks() -> int:
    """How many tasks run at once: what processors and free memory allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_TASKS, _free_memory() // TASK_BYTES))


def _free_memory() -> int:
    """Bytes that new processes can have; where the system does not say, enough for one."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return TASK_BYTES


def _close_killed(work: Path, executor: Executor, tell: Tell) -> None:
    """Close the MLflow runs of earlier runs that were killed, and say so."""
    for record in of_killed_runs(work):
        reason = f"its process {record.pid} was killed"
        finish = executor.prepare_closing(record.experiment, record.job, reason)
        try:
            finish.run()
        except TaskFailed as failure:
            tell(TaskEvent("", "note", text=f"the killed run {record.job} cannot be closed: {failure.reason}"))
            continue
        forget(work, record)
        tell(TaskEvent("", "note", text=f"closed the MLflow run of {record.job}: {reason}"))


def with_code(spec: RunSpec, images: Mapping[str, str] | None = None) -> TaskSetup:
    """What puts a task's code where the cache key sees it: the library's, other packages', the user's, its image.

    Args:
        spec: The run, whose data may come from a function of the user's own and be judged by another, and which may
            use what other packages brought.
        images: Their ids by name.
    """
    source, judge = spec.data.options.get("function", ""), spec.data.metric
    own = {"doctor": own_code(source), "prepare-data": own_code(source), "evaluate": own_code(judge)}
    brought = extensions(spec)

    def setup(component: str, task: dsl.PipelineTask) -> None:
        library, image = fingerprint(component.replace("-", "_")), (images or {}).get(task.container_spec.image, "")
        parts = (library, own.get(component, ""), brought.get(component, ""), image)
        task.set_env_variable(CODE, " ".join(filter(None, parts)))

    return setup
