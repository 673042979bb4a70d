"""The process of a task: `python -m litemill.pipelines.task FOLDER NAME` runs a Kubeflow component's source.

FOLDER holds the source (`component.py`) and its arguments (`arguments.json`). An error is left there as `error.json`,
with the one line that says what happened and the exit code that it asks for.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from litemill.errors import LitemillError, first_line
from litemill.process.forks import end_with_starter
from litemill.redact import RedactedLines, redact

SOURCE, ARGUMENTS, ERROR = "component.py", "arguments.json", "error.json"


def main() -> int:
    """Run the component; returns the exit code."""
    end_with_starter()
    faulthandler.enable(all_threads=False)
    folder = Path(sys.argv[1])
    with suppress(OSError):  # what `ps` and `top` call it, where there is such a file
        Path("/proc/self/comm").write_text(sys.argv[2])
    os.environ["_KFP_RUNTIME"] = "true"
    from kfp.dsl.executor_main import executor_main

    sys.stdout = sys.stderr = printed = RedactedLines(sys.stdout)
    given = json.loads((folder / ARGUMENTS).read_text(encoding="utf-8"))
    sys.argv[1:] = ["--component_module_path", str(folder / SOURCE), *given]
    try:
        return _execute(executor_main, folder)
    finally:
        printed.close()


def _execute(component: Callable[[], None], folder: Path) -> int:
    try:
        component()
    except LitemillError as error:
        traceback.print_exc()
        _leave(folder, str(error), error.exit_code)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        line, kind = first_line(error), type(error).__name__
        _leave(folder, line if line == kind else f"{kind}: {line}", 1)
        return 1
    return 0


def _leave(folder: Path, reason: str, exit_code: int) -> None:
    (folder / ERROR).write_text(json.dumps({"reason": redact(" ".join(reason.split())), "exit_code": exit_code}))


if __name__ == "__main__":
    sys.exit(main())
