"""What a failed task said last, however its output arrived."""

from __future__ import annotations

import io

import pytest

from litemill.pipelines.local import RunLog

SAID = "INFO: begin\nlitemill.errors.InputError: data.npz: holds no x_test\nError: exit code 1\n"


@pytest.mark.parametrize("size", [1, 7, 24, 1000])
def test_the_library_s_own_error_is_found_in_pieces_of_any_size(size: int) -> None:
    log = RunLog(io.StringIO())

    for start in range(0, len(SAID), size):
        log.write(SAID[start : start + size])

    assert log.last_line() == "data.npz: holds no x_test"
    assert log.file.getvalue() == SAID


def test_a_line_without_an_end_counts_and_the_task_before_does_not() -> None:
    log = RunLog(io.StringIO())
    log.write("litemill.errors.InputError: of another task\nunfinished")

    log.begin()
    log.write("ValueError: this one")

    assert log.last_line() == "this one"
