"""The notebook in `examples/` runs from its first cell to its last, in an empty folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_the_notebook_is_shipped_as_it_was_executed() -> None:
    """Every cell ran, none failed, and no output names a folder of the machine."""
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    text = str(outputs)
    assert "ship out/notebook/results/variants/" in text
    assert not [place for place in ("/tmp/", "/home/", "/root/", str(ROOT), sys.prefix) if place in text]


@pytest.mark.e2e
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a trained model in memory to the file to ship."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    results = tmp_path / "out/notebook/results"
    assert {"results.json", "report.html", "summary.md"} <= {file.name for file in results.iterdir()}
    shipped = [output.text for output in notebook.cells[-2].outputs if output.output_type == "stream"]
    assert any(line.startswith("ship out/notebook/results/variants/") for line in shipped)
