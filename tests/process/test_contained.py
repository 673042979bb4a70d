"""Reading foreign files in a child: what crashes, hangs or eats memory there is one error, and the next call works."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.cli.ahead import READERS as BEGUN
from litemill.errors import InputError, LitemillError, StepFailed
from litemill.models.peek import READERS
from litemill.process.contained import begin, contained
from litemill.process.limits import MIB, Limits

HERE = "tests.process.test_contained"
SHORT = Limits(cpu_seconds=0.5, seconds=2, memory=256 * MIB)


def echo(*values: Any) -> Any:
    return list(values)


def pid() -> int:
    return os.getpid()


def environment() -> dict[str, str]:
    return dict(os.environ)


def misbehave(how: str) -> Any:
    """What a parser may do with a hostile file."""
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case "loop":
            while True:
                pass
        case "wait":
            time.sleep(60)
        case "memory":
            return len(bytearray(1 << 33))
        case "native memory":
            return len(np.ones(1 << 30))
        case "deep":
            return deep(3000)
        case "noise":
            os.write(1, b"noise on stdout" * 1000)
            return "heard"
        case "refuse":
            raise StepFailed("it cannot work", where="here", fix="Do otherwise")
        case "surprise":
            raise KeyError("first line\nsecond")
    return None


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


def answer(how: str) -> str:
    with pytest.raises(InputError) as error:
        # Whoever waits is ended by the clock; whoever computes must have its processor time on a busy machine too.
        limits = SHORT if how == "wait" else replace(SHORT, seconds=120)
        contained(f"{HERE}:misbehave", how, where="bad.bin", limits=limits)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def test_values_come_back_as_they_went() -> None:
    values = [None, True, 1.5, "ü\n\ud800", {"a": [1, {"b": b"\x00\xff"}], "__blob__": 0, "__kind__": "bytes"}]
    assert contained(f"{HERE}:echo", *values, where="x") == values
    records = np.array([(1, 2.5)], [("a", "<i4"), ("b", "<f8", (1,))])
    for sent in (np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::2], records, np.zeros((0, 3)), np.float32(2)):
        (found,) = contained(f"{HERE}:echo", sent, where="x")
        np.testing.assert_array_equal(found, sent)
        assert found.dtype == sent.dtype and found.shape == sent.shape
    assert contained(f"{HERE}:echo", Path("a/b"), where="x") == ["a/b"]
    with pytest.raises(TypeError, match="Python objects"):
        contained(f"{HERE}:echo", np.array([object()]), where="x")


def test_one_process_does_all_calls_and_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    first = contained(f"{HERE}:pid", where="x")
    assert first == contained(f"{HERE}:pid", where="x") != os.getpid()
    answer("segfault")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    assert contained(f"{HERE}:pid", where="x") != first
    assert "hunter2" not in contained(f"{HERE}:environment", where="x").values()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("segfault", "bad.bin: crashes the process that reads it (SIGSEGV)"),
        ("abort", "bad.bin: crashes the process that reads it (SIGABRT)"),
        ("loop", "bad.bin: reading it takes more than 0.5 s and was stopped"),
        ("wait", "bad.bin: reading it takes more than 2 s and was stopped"),
        ("memory", "bad.bin: reading it takes more than 256 MiB of memory and was stopped"),
        ("native memory", "bad.bin: reading it takes more than 256 MiB of memory and was stopped"),
        ("deep", "bad.bin: is nested too deep to be read"),
        ("surprise", "bad.bin: cannot be read (KeyError: 'first line\\nsecond')"),
    ],
)
def test_what_a_file_does_to_its_reader_is_one_error_and_the_next_call_works(how: str, message: str) -> None:
    assert answer(how).startswith(message)
    assert contained(f"{HERE}:misbehave", "noise", where="x") == "heard"


def test_a_relative_path_is_that_of_the_caller_wherever_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert contained("os.path:abspath", "model.keras", where="model.keras") == str(tmp_path / name / "model.keras")


def test_errors_of_ours_arrive_as_they_were_raised() -> None:
    with pytest.raises(StepFailed) as error:
        contained(f"{HERE}:misbehave", "refuse", where="x")
    assert (error.value.what, error.value.where, error.value.fix) == ("it cannot work", "here", "Do otherwise")
    with pytest.raises(LitemillError, match="ended with exit code 3"):
        contained(f"{HERE}:misbehave", "exit", where="x")
    with pytest.raises(LitemillError, match=r"cannot load no\.such:function"):
        contained("no.such:function", where="x")


def test_the_child_may_begin_before_it_is_needed_and_whatever_it_cannot_import_is_an_error_of_the_call() -> None:
    """`litemill plan` begins with what reads models, while it imports the rest."""
    with pytest.raises(LitemillError):
        contained(f"{HERE}:misbehave", "exit", where="x")  # so that a new child begins
    begin("no.such", HERE)
    first = contained(f"{HERE}:pid", where="x")
    begin(HERE)
    assert first == contained(f"{HERE}:pid", where="x"), "one that runs stays"
    assert BEGUN == READERS


def test_limits_grow_with_the_file() -> None:
    small, large = Limits.for_size(25_000), Limits.for_size(500 * MIB)
    assert small.cpu_seconds < 10, "a small hostile file is refused within ten seconds"
    assert large.cpu_seconds > 600 and large.memory > 5000 * MIB


def test_the_child_ends_with_its_parent() -> None:
    code = f"from litemill.process.contained import contained; print(contained('{HERE}:pid', where='x'), flush=True); "
    child = subprocess.Popen([sys.executable, "-c", code + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    reader = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{reader}").exists():
        if "Z" in Path(f"/proc/{reader}/stat").read_text().rpartition(")")[2].split()[:1]:
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{reader}").exists()
