"""A worker process that dies: the reason names how, and the other jobs are done."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from litemill.errors import LitemillError, StepFailed
from litemill.process.isolation import Job, run_isolated, serve


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
            time.sleep(60)
        case "exit":
            os._exit(job["code"])
        case "refuse":
            raise StepFailed("it cannot work", where="here", fix="Do otherwise")
        case "bug":
            raise KeyError("first line\nsecond")


def jobs(folder: Path, *order: str) -> list[Job]:
    return [{"name": f"{at}-{do}", "do": do, "out": str(folder / f"{at}"), "code": 5} for at, do in enumerate(order)]


def test_deaths_cost_their_job_only(tmp_path: Path) -> None:
    order = ("write", "segfault", "write", "refuse", "bug", "exit", "write")
    ended = run_isolated("tests.test_isolation", jobs(tmp_path, *order), time_limit=30)
    reasons = {name: outcome.reason for name, outcome in ended.items()}
    assert list(reasons) == [f"{at}-{do}" for at, do in enumerate(order)]
    assert reasons["1-segfault"].startswith("the worker process was killed by SIGSEGV; its last words: about to fall")
    assert reasons["3-refuse"] == "here: it cannot work. Do otherwise"
    assert reasons["4-bug"] == "KeyError: 'first line\\nsecond'"
    assert reasons["5-exit"].startswith("the worker process was ended with exit code 5")
    assert [reasons[f"{at}-write"] for at in (0, 2, 6)] == ["", "", ""]
    assert (tmp_path / "6").exists()


def test_one_process_does_all_jobs(tmp_path: Path) -> None:
    run_isolated("tests.test_isolation", jobs(tmp_path, "write", "refuse", "write"), time_limit=30)
    assert (tmp_path / "0").read_text() == (tmp_path / "2").read_text() != str(os.getpid())


def test_a_hang_is_ended_and_the_next_job_done(tmp_path: Path) -> None:
    ended = run_isolated("tests.test_isolation", jobs(tmp_path, "hang", "write"), time_limit=2)
    assert ended["0-hang"].reason == "took more than 2 s and was ended"
    assert ended["1-write"].reason == ""


def test_a_worker_that_does_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LitemillError, match="the worker ended early, before '0-write'"):
        run_isolated("tests.workshop", jobs(tmp_path, "write"), time_limit=30)


def test_no_jobs_start_no_worker() -> None:
    assert run_isolated("no.such.module", [], time_limit=1) == {}


if __name__ == "__main__":
    serve(work)
