"""The graph of a pipeline on this machine: what runs beside what, and what a failure costs."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from kfp import dsl

from litemill.pipelines.dag import Dag, TaskFailed
from litemill.pipelines.interrupt import Interrupted
from litemill.pipelines.observe import TaskEvent


@dsl.component(base_image="python")
def made(text: str) -> str:  # type: ignore[empty-body]
    """A task with an output."""


@dsl.component(base_image="python")
def joined(left: str, right: str) -> str:  # type: ignore[empty-body]
    """A task that needs several."""


@dsl.component(base_image="python")
def closed(status: dsl.PipelineTaskFinalStatus):  # type: ignore[no-untyped-def]
    """What runs at the end."""


@dsl.pipeline(name="branch")
def branch(text: str) -> str:
    return made(text=made(text=text).output).output


@dsl.pipeline(name="whole")
def whole(text: str = "a") -> None:
    with dsl.ExitHandler(closed()):
        start = made(text=text)
        left, right = branch(text=start.output), branch(text=start.output)
        both = joined(left=left.output, right=right.output)
        with dsl.If(both.output == "made made"):
            made(text="gate")


@dataclass
class Bench:
    """Works that note what ran beside what, and fail where they are asked to."""

    failing: dict[str, TaskFailed] = field(default_factory=dict)
    alone: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    seconds: float = 0.02
    ran: list[str] = field(default_factory=list)
    together: list[set[str]] = field(default_factory=list)
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[TaskEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.running: set[str] = set()
        self.lock = threading.Lock()

    def prepare(self, name: str, spec: Any, arguments: dict[str, Any]) -> "BenchWork":
        self.given.setdefault(name, arguments)
        found = {"Output": "made"} if name in self.cached else None
        return BenchWork(self, name, name in self.alone, found)

    def run(self, slots: int = 2) -> Dag:
        dag = Dag(whole.pipeline_spec, self.prepare, self.events.append, slots)
        dag.run()
        return dag


@dataclass
class BenchWork:
    bench: Bench
    name: str
    alone: bool
    cached: dict[str, Any] | None

    def run(self) -> dict[str, Any]:
        bench = self.bench
        with bench.lock:
            bench.ran.append(self.name)
            bench.running.add(self.name)
            bench.together.append(set(bench.running))
        time.sleep(bench.seconds)
        with bench.lock:
            bench.running.discard(self.name)
        if self.name in bench.failing:
            raise bench.failing[self.name]
        return {"Output": "made made" if self.name == "joined" else "made"}

    def kill(self) -> None:
        self.bench.seconds = 0.0


def test_independent_tasks_run_at_once_and_every_output_arrives() -> None:
    bench = Bench()
    dag = bench.run()
    assert sorted(bench.ran) == ["closed", "joined", *["made"] * 3, *["made-2"] * 3]
    assert bench.ran[0] == "made"
    assert bench.ran[-1] == "closed"
    assert max(map(len, bench.together)) <= 2
    assert bench.given["closed"]["status"]["state"] == "SUCCEEDED"
    assert not dag.failures
    assert bench.given["joined"] == {"left": "made", "right": "made"}


def test_what_needs_the_machine_runs_beside_nothing() -> None:
    bench = Bench(alone=("made-2",))
    bench.run(slots=4)
    assert all(one == {"made-2"} for one in bench.together if "made-2" in one)


def test_a_cached_task_does_not_run() -> None:
    bench = Bench(cached=("made", "made-2"))
    bench.run()
    assert set(bench.ran) == {"joined", "closed"}
    assert {event.state for event in bench.events if event.name == "made"} == {"cached"}


def test_a_failure_with_stand_ins_costs_nothing_else_and_is_told_at_the_end() -> None:
    failed = TaskFailed("it broke", stand_ins={"Output": "gap"})
    bench = Bench(failing={"made-2": failed})
    dag = bench.run()
    assert "joined" in bench.ran
    assert bench.given["joined"] == {"left": "gap", "right": "gap"}
    assert bench.given["closed"]["status"]["state"] == "FAILED"
    assert "task made-2 failed: it broke" in bench.given["closed"]["status"]["error"]["message"]
    assert dag.failures["made-2"] is failed


def test_what_cannot_do_without_a_failed_task_is_skipped() -> None:
    bench = Bench(failing={"made": TaskFailed("it broke", exit_code=2)})
    dag = bench.run()
    assert bench.ran == ["made", "closed"]
    assert dag.failures["made"].exit_code == 2
    assert "joined" not in dag.outputs


def test_an_interruption_ends_what_runs_and_the_exit_task_knows() -> None:
    bench = Bench(seconds=0.02)

    def tell(event: TaskEvent) -> None:
        if event == TaskEvent("joined", "started"):
            raise Interrupted(15)

    dag = Dag(whole.pipeline_spec, bench.prepare, tell, 2)
    with pytest.raises(Interrupted):
        dag.run()
    assert bench.ran[-1] == "closed"
    assert bench.given["closed"]["status"]["state"] == "CANCELLED"
