"""Run a pipeline on this machine under `kfp.local`, and leave its results in a folder."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from kfp import dsl, local

from litemill.artifacts.storage import store_of
from litemill.components.images import EDGE, TRAIN
from litemill.config.run import RunSpec
from litemill.config.written import spec_of
from litemill.doctor.preflight import preflight
from litemill.errors import LitemillError
from litemill.pipelines.containers import container_runner
from litemill.pipelines.extensions import extensions
from litemill.pipelines.fingerprint import fingerprint, own_code
from litemill.pipelines.kubeflow import build_pipeline
from litemill.pipelines.observe import TaskEvent, observed
from litemill.pipelines.places import check_places, deliver
from litemill.pipelines.tasks import TaskSetup
from litemill.redact import redact
from litemill.select.results import Results

log = logging.getLogger(__name__)

WORK = Path(".litemill")
"""Where a run keeps what it does not deliver: below the current folder, as tools of a project do."""
CODE = "LITEMILL_CODE"
"""Task variable that carries the library's digest into Kubeflow's cache key."""


class RunLog:
    """Everything the tasks print, in a file, line by line and without secrets.

    The last lines of the current task are kept to explain a failure.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.tail: deque[str] = deque(maxlen=200)
        self._line = ""

    def write(self, text: str) -> int:
        """Write to the file and remember the lines; a container's output comes in pieces that end anywhere."""
        *lines, self._line = (self._line + text).split("\n")
        self.tail.extend(line for line in lines if line.strip())
        self.file.writelines(redact(line) + "\n" for line in lines)
        return len(text)

    def begin(self) -> None:
        """Forget what was printed until now: another task speaks."""
        self.file.write(redact(self._line))
        self.tail.clear()
        self._line = ""

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()

    def last_line(self) -> str:
        """The library's own error among the task's last lines, else the last line that names an error."""
        lines = [line.strip() for line in (*self.tail, self._line) if line.strip()]
        message = [line for line in lines if line.startswith("litemill.errors.")]
        errors = message or [line for line in lines if "Error" in line.split(":")[0]] or lines
        return errors[-1].partition(": ")[2] or errors[-1] if errors else "it printed nothing"


def run(
    config: RunSpec | Mapping[str, Any] | str | Path,
    *,
    out: str | Path | None = None,
    work: str | Path = WORK,
    cache: bool = True,
    containers: bool = False,
    on_task: Callable[[TaskEvent], None] = lambda event: None,
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
        LitemillError: A task failed; names it, its error and the log.

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
    tell: Callable[[TaskEvent], None] = lambda event: None,
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
        ConfigError: `out` holds something else than results.
        LitemillError: A task failed; names it, its error and the log. Or containers cannot be run here.
    """
    check_places(out, work)
    with ExitStack() as stack:
        runner, setup = local.SubprocessRunner(use_venv=False), with_code(spec)
        if containers:
            inputs = [Path(uri) for uri in (spec.model.uri, spec.data.uri) if uri and store_of(uri) is None]
            used = stack.enter_context(container_runner((TRAIN, EDGE), work, inputs))
            runner, setup = used.runner, with_code(spec, used.versions)
        return _run(spec, out, work, runner, setup, cache, tell)


def _run(
    spec: RunSpec,
    out: Path,
    work: Path,
    runner: local.SubprocessRunner | local.DockerRunner,
    setup: TaskSetup,
    cache: bool,
    tell: Callable[[TaskEvent], None],
) -> Results:
    logs = work / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    failed: list[tuple[str, str]] = []

    def watch(event: TaskEvent) -> None:
        if event.state == "started":
            printed.begin()
        elif event.state == "failed":
            failed.append((event.name, printed.last_line()))
        elif event.name == "compare":
            found["results"] = Path(event.outputs["results"].path)
        tell(event)

    with tempfile.NamedTemporaryFile("w", dir=logs, prefix=f"{spec.name}-", suffix=".log", delete=False) as file:
        printed = RunLog(file)  # type: ignore[arg-type]
        # A stream of its own keeps what tasks print out of the progress display.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            local.init(
                runner,
                pipeline_root=str((work / "pipeline").absolute()),
                enable_caching=cache,
                cache_root=str(work / "cache"),
            )
            pipeline = build_pipeline(spec, setup=setup)
            with observed(watch):
                try:
                    pipeline()
                except RuntimeError as error:
                    if not failed:
                        raise LitemillError(str(error), where=file.name) from error
    if failed:
        name, words = failed[0]
        raise LitemillError(f"task {name} failed: {words}", fix=f"The whole log: {file.name}")
    return deliver(found["results"], out)


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
