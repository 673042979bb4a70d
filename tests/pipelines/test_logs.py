"""What a task of which only the log is left ended with, and what gets into a log."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from litemill.artifacts.proof import DamagedFile
from litemill.errors import ConfigError, InputError, LitemillError, StepFailed
from litemill.pipelines.logs import RedactedOutput, error_in, last_lines
from litemill.redact import HIDDEN


def fails(error: Exception) -> str:
    """What Python prints of an error, behind what the task printed before."""
    try:
        try:
            raise KeyError("layer")
        except KeyError as cause:
            raise error from cause
    except Exception:
        return f"INFO: begin\nValueError: of a step that was tried again\n{traceback.format_exc()}Error: exit code 1\n"


@pytest.mark.parametrize(
    ("error", "shown", "exit_code"),
    [
        (InputError("holds no x_test", where="data.npz", fix="Add it"), "data.npz: holds no x_test. Add it", 2),
        (ConfigError("unknown target"), "unknown target", 2),
        (StepFailed("cannot prune"), "cannot prune", 1),
        (LitemillError("MLflow is gone", where="http://127.0.0.1:9"), "http://127.0.0.1:9: MLflow is gone", 1),
        (DamagedFile("has digest a…", where="m.tflite"), "m.tflite: has digest a…", 1),
        (ValueError("shapes (2,) and (3,) differ"), "ValueError: shapes (2,) and (3,) differ", 1),
        (RuntimeError("Graph execution error:\n\nout of range\n\t[[node]]"), "RuntimeError: out of range", 1),
    ],
)
def test_a_failed_task_is_named_by_its_own_error(error: Exception, shown: str, exit_code: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 100_000 + "\n" + fails(error))
    assert error_in(last_lines(log), 1) == (shown, exit_code)


@pytest.mark.parametrize(
    ("printed", "code", "shown"),
    [
        ("", 3, "the task's container was ended with exit code 3; its last words: none"),
        ("one\ntwo\nthree\n", 127, "the task's container was ended with exit code 127; its last words: two | three"),
        ("ValueError: handled\nepoch 1\n", 137, "the task's container was killed by SIGKILL (as the kernel does where"),
        ("Fatal Python error: Segmentation fault\n", 139, "the task's container was killed by SIGSEGV"),
        ("gone\n", 255, "the task's container was ended with exit code 255; its last words: gone"),
    ],
)
def test_one_that_died_without_an_error_is_told_by_how(printed: str, code: int, shown: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(printed)
    reason, exit_code = error_in(last_lines(tmp_path / "log"), code)
    assert reason.startswith(shown) and exit_code == 1


PRINTING = """
import os, subprocess, sys
os.write(1, b"https://h/?token=hunter2 \\xff\\n")
subprocess.run([sys.executable, "-c", "print('Authorization: Bearer hunter2-hunter2', end='')"])
os.write(2, b" and \\xe2\\x82")
os.write(2, b"\\xac, the last word")
"""


def test_what_other_programs_and_native_code_print_is_redacted_too(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        printed = RedactedOutput(file)
        process = subprocess.Popen([sys.executable, "-c", PRINTING], stdout=printed.writer, stderr=printed.writer)
        printed.started()
        assert process.wait() == 0
        printed.finish()
    log = (tmp_path / "log").read_text()
    assert log == f"https://h/?token={HIDDEN} \ufffd\nAuthorization: Bearer {HIDDEN} and €, the last word"


@pytest.mark.parametrize("ends", [lambda handle: os.write(handle, b"x" * 3_000_000), lambda handle: None])
def test_nothing_is_lost_and_nothing_waits(ends: Callable[[int], object], tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        printed = RedactedOutput(file)
        with os.fdopen(os.dup(printed.writer.fileno()), "wb") as other:
            printed.started()
            ends(other.fileno())
        printed.finish()
    assert (tmp_path / "log").stat().st_size in (0, 3_000_000)
