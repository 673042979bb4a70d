"""An artifact that a task could not make says so in its place."""

from __future__ import annotations

from pathlib import Path

from litemill.artifacts.failure import failure_of, leave_failure


def test_a_folder_says_which_task_left_nothing_there_and_why(tmp_path: Path) -> None:
    leave_failure(tmp_path / "evaluation", "evaluate-prune", "killed by SIGKILL")
    found = failure_of(tmp_path / "evaluation")
    assert found is not None
    assert (found.task, found.reason) == ("evaluate-prune", "killed by SIGKILL")
    assert failure_of(tmp_path) is None
    assert failure_of(None) is None
