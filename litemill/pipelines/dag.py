"""Run the graph of a compiled pipeline: what depends on nothing unfinished runs, several tasks at once.

`kfp.local` runs one task after another and gives up at the first that fails. This walks the same compiled graph with
its own store of inputs and outputs. A task that fails costs no other branch its results: what it should have left says
why (see `litemill.pipelines.failures`), and what cannot do without it is skipped.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from kfp.local.io import IOStore
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.local.orchestrator.task_spec_utils import build_nested_dag_arguments

from litemill.pipelines.observe import State, TaskEvent, Tell

SUCCEEDED, FAILED, CANCELLED = "SUCCEEDED", "FAILED", "CANCELLED"


class TaskFailed(Exception):
    """A task ended without its outputs.

    Args:
        reason: The true error, one line.
        exit_code: 2 where the input is at fault, else 1.
        stand_ins: Outputs that say why the task's own are missing; None where nothing can go on without them.
    """

    def __init__(self, reason: str, exit_code: int = 1, stand_ins: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.exit_code, self.stand_ins = reason, exit_code, stand_ins


class Work(Protocol):
    """A task that is ready to run."""

    alone: bool
    cached: dict[str, Any] | None

    def run(self) -> dict[str, Any]:
        """Run it in this thread; returns its outputs, or raises TaskFailed."""

    def kill(self) -> None:
        """End it at once."""


@dataclass
class Scope:
    """A graph that runs: the pipeline's own, or one nested in it."""

    dag: Any
    store: IOStore
    above: Node | None
    nodes: dict[str, Node] = field(default_factory=dict)
    failed: bool = False


@dataclass(eq=False)
class Node:
    """A task in a scope.

    Attributes:
        name: Its name in the graph.
        spec: Kubeflow's description of it.
        scope: Where it is.
        waits: Names of the tasks in the scope that have to end first.
        rank: How long a chain of tasks waits for it: the longest first.
    """

    name: str
    spec: Any
    scope: Scope
    waits: set[str]
    rank: int = 0
    done: bool = False

    @property
    def is_last(self) -> bool:
        """Whether it runs after everything else, however that ended: an exit task."""
        return any(one.HasField("task_final_status") for one in self.spec.inputs.parameters.values())


@dataclass
class Ended:
    """A task's outputs, or why there are none."""

    node: Node
    work: Work
    seconds: float
    outputs: dict[str, Any] = field(default_factory=dict)
    failure: TaskFailed | None = None
    bug: BaseException | None = None


class Dag:
    """One run of a pipeline's graph.

    Args:
        spec: Kubeflow's pipeline spec.
        prepare: Makes a leaf of the graph, with its arguments, ready to run.
        tell: Called when a task begins and ends.
        slots: How many tasks run at once.

    Attributes:
        failures: Why tasks failed, by name, in the order in which they did.
    """

    def __init__(self, spec: Any, prepare: Callable[[str, Any, dict[str, Any]], Work], tell: Tell, slots: int) -> None:
        self.spec, self.prepare, self.tell, self.slots = spec, prepare, tell, slots
        self.failures: dict[str, TaskFailed] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        self._ready: list[Node] = []
        self._waiting: list[tuple[Node, Work]] = []
        self._running: dict[Node, Work] = {}
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._last: list[Node] = []

    def run(self) -> None:
        """Run the graph to its end; exit tasks run also where it is interrupted by an exception in this thread.

        Raises:
            BaseException: What interrupted it, after running tasks were ended and exit tasks have run.
        """
        root = self.spec.root
        try:
            self._open(root, OrchestratorUtils.join_user_inputs_and_defaults({}, root.input_definitions), None)
            self._loop()
        except BaseException as error:
            self._cancel()
            self._close(CANCELLED, f"interrupted: {error}")
            raise
        self._close(FAILED if self.failures else SUCCEEDED, self.reason)

    @property
    def reason(self) -> str:
        """What failed, with the true errors."""
        return "; ".join(f"task {name} failed: {failure.reason}" for name, failure in self.failures.items())

    def _loop(self) -> None:
        while self._ready or self._waiting or self._running:
            while self._ready:
                self._enter(self._ready.pop(0))
            self._start()
            if self._running:
                self._finish(self._ended.get())

    def _open(self, component: Any, arguments: dict[str, Any], above: Node | None) -> None:
        """Begin a graph: its tasks wait for each other."""
        scope = Scope(component.dag, IOStore(parent=above.scope.store if above else None), above)
        for key, value in arguments.items():
            scope.store.put_parent_input(key, value)
        for name, spec in component.dag.tasks.items():
            scope.nodes[name] = Node(name, spec, scope, set(spec.dependent_tasks))
        base = above.rank if above else 0
        for name in scope.nodes:
            scope.nodes[name].rank = base + _height(name, scope, {})
        for node in [node for node in scope.nodes.values() if node.is_last]:
            self._last.append(node)
            del scope.nodes[node.name]
        self._ready += [node for node in scope.nodes.values() if not node.waits]

    def _enter(self, node: Node) -> None:
        """A node whose dependencies have ended: open its graph, or get it ready to run."""
        store, condition = node.scope.store, node.spec.trigger_policy.condition
        component = self.spec.components[node.spec.component_ref.name]
        if condition and not ConditionEvaluator.evaluate_condition(condition, store):
            self._complete(node, {})
        elif component.WhichOneof("implementation") == "dag":
            arguments = build_nested_dag_arguments(node.name, node.spec, component, store)
            joined = OrchestratorUtils.join_user_inputs_and_defaults(arguments, component.input_definitions)
            self._open(component, joined, node)
        else:
            work = self.prepare(node.name, node.spec, OrchestratorUtils.make_task_arguments(node.spec.inputs, store))
            if work.cached is None:
                self._waiting.append((node, work))
                self._waiting.sort(key=lambda one: -one[0].rank)
            else:
                self.tell(TaskEvent(node.name, "cached"))
                self._complete(node, work.cached)

    def _start(self) -> None:
        """Start what may run now; what needs the machine for itself runs when nothing else can."""
        if any(work.alone for work in self._running.values()):
            return
        alone = [one for one in self._waiting if one[1].alone]
        shared = [one for one in self._waiting if not one[1].alone]
        if alone and not self._running and (self._was_alone or not shared):
            self._was_alone = True
            self._launch(*alone[0])
            return
        for node, work in shared[: self.slots - len(self._running)]:
            self._was_alone = False
            self._launch(node, work)

    _was_alone = False

    def _launch(self, node: Node, work: Work) -> None:
        self._waiting.remove((node, work))
        # In this order: an interruption at any of these lines must not leave a task that is waited for and never ends.
        threading.Thread(target=self._run, args=(node, work), name=node.name, daemon=True).start()
        self._running[node] = work
        self.tell(TaskEvent(node.name, "started"))

    def _run(self, node: Node, work: Work) -> None:
        ended, began = Ended(node, work, 0.0), time.monotonic()
        try:
            ended.outputs = work.run()
        except TaskFailed as failure:
            ended.failure = failure
        except BaseException as bug:
            ended.bug = bug
        ended.seconds = time.monotonic() - began
        self._ended.put(ended)

    def _finish(self, ended: Ended) -> None:
        """Pass on how a task ended."""
        node = ended.node
        del self._running[node]
        if ended.bug:
            raise ended.bug
        if not ended.failure:
            state: State = "done" if ended.work.cached is None else "cached"
            self.tell(TaskEvent(node.name, state, ended.seconds))
            self._complete(node, ended.outputs)
            return
        self.failures[node.name] = ended.failure
        self.tell(TaskEvent(node.name, "failed", ended.seconds, ended.failure.reason))
        if ended.failure.stand_ins is None:
            self._fail(node)
        else:
            self._complete(node, ended.failure.stand_ins)

    def _complete(self, node: Node, outputs: dict[str, Any]) -> None:
        self.outputs[node.name] = outputs
        for key, output in outputs.items():
            node.scope.store.put_task_output(node.name, key, output)
        self._end(node, SUCCEEDED)

    def _fail(self, node: Node) -> None:
        """A task has no outputs: neither has what depends on it."""
        node.scope.failed = True
        self._end(node, FAILED)

    def _end(self, node: Node, status: str) -> None:
        scope = node.scope
        node.done = True
        scope.store.put_task_status(node.name, status)
        for other in list(scope.nodes.values()):
            if node.name in other.waits and not other.done:
                other.waits.discard(node.name)
                if status == FAILED:
                    self._fail(other)
                elif not other.waits:
                    self._ready.append(other)
        if all(one.done for one in scope.nodes.values()) and scope.above and not scope.above.done:
            if scope.failed:
                self._fail(scope.above)
            else:
                self._complete(scope.above, OrchestratorUtils.get_dag_outputs(scope.dag.outputs, scope.store))

    def _cancel(self) -> None:
        """End the tasks that run, and wait for their threads."""
        for work in self._running.values():
            work.kill()
        while self._running:
            self._running.pop(self._ended.get().node, None)

    def _close(self, status: str, reason: str) -> None:
        """Run the exit tasks, which learn how the rest ended."""
        for node in self._last:
            arguments = OrchestratorUtils.make_task_arguments(node.spec.inputs, node.scope.store)
            for name, one in node.spec.inputs.parameters.items():
                if one.HasField("task_final_status"):
                    error = {} if status == SUCCEEDED else {"code": 1, "message": reason}
                    arguments[name] = {**arguments[name], "state": status, "error": error}
            work = self.prepare(node.name, node.spec, arguments)
            self.tell(TaskEvent(node.name, "started"))
            self._running[node] = work
            self._run(node, work)
            self._finish(self._ended.get())


def _height(name: str, scope: Scope, known: dict[str, int]) -> int:
    """Length of the longest chain of tasks in a scope that waits for one."""
    if name not in known:
        after = [other for other, node in scope.nodes.items() if name in node.spec.dependent_tasks]
        known[name] = 1 + max((_height(other, scope, known) for other in after), default=0)
    return known[name]
