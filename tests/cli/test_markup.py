"""Nothing that a user, a path or a model is called makes a command fail, whatever rich or Markdown would make of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from litemill.doctor.findings import Diagnosis, Finding, LayerDiagnosis, to_markdown

CONFIG = 'name: t\nmodel: {uri: "[/foo]"}\ndata: {kind: npz, uri: "x[/b]"}\nrecipes: {int8: [int8]}\n'


def litemill(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [sys.executable, "-c", "from litemill.cli.app import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["plan", "run.yaml"], "error: [/foo]: no such file or folder"),
        (["run", "run.yaml", "--out", "o[/b]"], "error: [/foo]: no such file or folder"),
        (["plan", "[/b]:bug:.yaml"], "error: [/b]:bug:.yaml: cannot read the config (No such file or directory)"),
        (["inspect", "[/b].tflite"], "[/b].tflite"),
        (["[/b]"], "No such command '[/b]'"),
    ],
)
def test_markup_in_what_is_named_is_text(arguments: list[str], answer: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    done = litemill(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and answer in done.stderr and "Traceback" not in done.stderr


def test_what_a_layer_is_called_does_nothing_in_markdown() -> None:
    name = "<script>x</script> | [a](http://b) `c` *d*\nnext"
    layer = LayerDiagnosis(name=name, type="Dense", parameters=1, qat=name)
    page = to_markdown(Diagnosis(findings=[Finding(level="error", what=name, fix=name)], layers=[layer]))
    assert "<script" not in page and "](http" not in page.replace("\\](", "")
    rows = [line for line in page.splitlines() if "Dense" in line]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 7
