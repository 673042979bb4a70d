"""A worker process that dies: the reason names how, and the other jobs are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from litemill.errors import LitemillError, StepFailed
from litemill.process.isolation import Job, run_isolated, serve
from litemill.tasks.labels import several_labels

WORKER = "tests.process.test_isolation"


def work(job: Job) -> None:
    """Do what the job says; the worker's side."""
    match job["do"]:
        case "write":
            Path(job["out"]).write_text(str(os.getpid()))
        case "segfault":
            sys.stderr.write("about to fall\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            Path(job["out"]).write_text(str(os.getpid()))
            time.sleep(60)
        case "speak":
            sys.stderr.write(f"epoch 1, {os.environ.get('LITEMILL_TEST')}\n")
        case "exit":
            os._exit(job["code"])
        case "refuse":
            raise StepFailed("it cannot work", where="here", fix="Do otherwise")
        case "bug":
            raise KeyError("first line\nsecond")
        case "own":
            several_labels(None, "y")  # type: ignore[arg-type]
        case "memory":
            raise MemoryError


def jobs(folder: Path, *order: str) -> list[Job]:
    return [{"name": f"{at}-{do}", "do": do, "out": str(folder / f"{at}"), "code": 5} for at, do in enumerate(order)]


def test_a_fault_of_our_own_does_not_look_like_a_refusal_and_a_lack_of_memory_passes(tmp_path: Path) -> None:
    ended = run_isolated(WORKER, jobs(tmp_path, "own", "bug", "memory", "refuse"), time_limit=30)
    own, bug, *_ = ended.values()
    assert own.reason.startswith("a fault of Litemill's own in litemill/tasks/labels.py:")
    assert "AttributeError" in own.reason and own.reason.endswith("Report it with the log")
    assert "Litemill" not in bug.reason
    assert [one.passes for one in ended.values()] == [False, False, True, False]


def test_deaths_cost_their_job_only(tmp_path: Path) -> None:
    order = ("write", "segfault", "write", "refuse", "bug", "exit", "write")
    ended = run_isolated(WORKER, jobs(tmp_path, *order), time_limit=30)
    reasons = {name: outcome.reason for name, outcome in ended.items()}
    assert list(reasons) == [f"{at}-{do}" for at, do in enumerate(order)]
    assert reasons["1-segfault"].startswith("the worker process was killed by SIGSEGV; its last words: about to fall")
    assert reasons["3-refuse"] == "here: it cannot work. Do otherwise"
    assert reasons["4-bug"] == "KeyError: 'first line\\nsecond'"
    assert reasons["5-exit"].startswith("the worker process was ended with exit code 5")
    assert [reasons[f"{at}-write"] for at in (0, 2, 6)] == ["", "", ""]
    causes = [outcome.cause for outcome in ended.values()]
    assert causes == ["", "died", "", "StepFailed", "KeyError", "died", ""]
    assert [outcome.crashed for outcome in ended.values()] == [at == 1 for at in range(7)]
    assert (tmp_path / "6").exists()


def test_one_process_does_all_jobs(tmp_path: Path) -> None:
    run_isolated(WORKER, jobs(tmp_path, "write", "refuse", "write"), time_limit=30)
    assert (tmp_path / "0").read_text() == (tmp_path / "2").read_text() != str(os.getpid())


def test_a_hang_is_ended_and_the_next_job_done(tmp_path: Path) -> None:
    ended = run_isolated(WORKER, jobs(tmp_path, "hang", "write"), time_limit=2)
    assert ended["0-hang"].reason == "took more than 2 s and was ended"
    assert ended["1-write"].reason == ""


def test_a_worker_that_does_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LitemillError, match="the worker ended early, before '0-write'"):
        run_isolated("tests.workshop", jobs(tmp_path, "write"), time_limit=30)


def test_what_a_worker_prints_is_passed_on_while_it_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"LITEMILL_TEST": "loss 0.5"}
    run_isolated(WORKER, jobs(tmp_path, "speak"), time_limit=None, environment=environment, relay=True)
    assert "epoch 1, loss 0.5\n" in capsys.readouterr().err
    run_isolated(WORKER, jobs(tmp_path, "speak"), time_limit=None)
    assert capsys.readouterr().err == ""


def test_a_killed_task_leaves_no_worker_behind(tmp_path: Path) -> None:
    call = f"run_isolated({WORKER!r}, {jobs(tmp_path, 'hang')}, time_limit=60)"
    code = f"from litemill.process.isolation import run_isolated; {call}"
    task = subprocess.Popen([sys.executable, "-c", code])
    limit = time.monotonic() + 30
    while not (tmp_path / "0").exists() or not (tmp_path / "0").read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)
    worker = Path("/proc") / (tmp_path / "0").read_text()
    assert worker.exists()
    task.kill()
    task.wait()
    while worker.exists() and "(zombie)" not in (worker / "status").read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_no_jobs_start_no_worker() -> None:
    assert run_isolated("no.such.module", [], time_limit=1) == {}


if __name__ == "__main__":
    serve(work)
