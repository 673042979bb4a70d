"""Processes forked from one that has imported already: as separate as new ones, and gone with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from litemill.process import forks
from litemill.process.forks import ForkServer
from litemill.process.isolation import run_isolated
from tests.process.test_isolation import jobs

WORKER = "tests.process.test_isolation"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    with (tmp_path / "log").open("wb") as log:
        found = ForkServer(["numpy", "no.such.module"], log)
        yield found
        found.close()


def run(server: ForkServer, folder: Path, code: str, **variables: str) -> tuple[int | None, str]:
    """Run Python code in a forked process; its exit code and what it printed."""
    (folder / "snippet.py").write_text(code)
    with (folder / "printed").open("wb") as output:
        environment = {**os.environ, **variables}
        sys.path.insert(0, str(folder))
        try:
            process = server.start("snippet", ["one"], output, environment=environment)
        finally:
            sys.path.remove(str(folder))
        code_ = process.wait()
    return code_, (folder / "printed").read_text()


def test_a_forked_process_finds_its_own_arguments_variables_and_imports(server: ForkServer, tmp_path: Path) -> None:
    code, printed = run(
        server,
        tmp_path,
        "import sys, os, tempfile\n"
        "assert 'numpy' in sys.modules, 'imported before'\n"
        "print(sys.argv[1:], os.environ['SAID'], os.environ.get('LEFT'), tempfile.gettempdir())\n"
        "sys.exit(7)",
        SAID="so",
        TMPDIR=str(tmp_path),
    )
    assert (code, printed) == (7, f"['one'] so None {tmp_path}\n")
    code, printed = run(server, tmp_path, "raise KeyError('its own')")
    assert code == 1
    assert "KeyError: 'its own'" in printed


def test_other_values_of_what_libraries_read_at_import_get_a_new_python(server: ForkServer, tmp_path: Path) -> None:
    code = "import sys; print('numpy' in sys.modules)"
    assert run(server, tmp_path, code) == (0, "True\n")
    assert run(server, tmp_path, code, TF_ENABLE_ONEDNN_OPTS="0") == (0, "False\n")


def test_workers_of_a_forked_process_are_forked_and_a_death_costs_their_job_only(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(forks.VARIABLE, str(server._socket.fileno()))
    order = ("write", "segfault", "write", "exit", "hang", "write")
    ended = run_isolated(WORKER, jobs(tmp_path, *order), time_limit=2)
    reasons = [outcome.reason for outcome in ended.values()]
    assert reasons[1].startswith("the worker process was killed by SIGSEGV; its last words: about to fall")
    assert reasons[3].startswith("the worker process was ended with exit code 5")
    assert reasons[4] == "took more than 2 s and was ended"
    assert [reasons[at] for at in (0, 2, 5)] == ["", "", ""]
    assert len({(tmp_path / str(at)).read_text() for at in (0, 2, 5)}) == 3


ASK = """
import os, sys, time
from pathlib import Path
from litemill.process.forks import ForkServer
server = ForkServer([], open(os.devnull, "wb"))
process = server.start("snippet", [], open(sys.argv[1], "wb"), dict(os.environ))
time.sleep(60)
"""
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "61"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_everything_ends_with_the_run(number: signal.Signals, tmp_path: Path) -> None:
    """Also what a forked process started, and however the run ended."""
    (tmp_path / "snippet.py").write_text(FAMILY)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    asking = subprocess.Popen(
        [sys.executable, "-c", ASK, tmp_path / "printed"], env={**os.environ, "PYTHONPATH": paths}
    )
    until = time.monotonic() + 60
    while not (tmp_path / "printed").exists() or not (tmp_path / "printed").read_text().endswith("\n"):
        assert time.monotonic() < until
        time.sleep(0.05)
    family = [int(text) for text in (tmp_path / "printed").read_text().split()]
    asking.send_signal(number)
    asking.wait()
    while any(map(running, family)):
        assert time.monotonic() < until
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
