"""The cache key knows the library's code: a change reruns what imports it, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.fingerprint import modules_of

ROOT = Path(__file__).parents[2]
COMPONENTS = ["prepare_data", "import_model", "prune", "int8_convert", "evaluate", "benchmark", "compare"]


def fingerprints(checkout: Path) -> dict[str, str]:
    """The fingerprint of each component, as a fresh process in that checkout computes it."""
    told = f"json.dumps({{name: fingerprint(name) for name in {COMPONENTS}}})"
    code = f"import json; from pipelines.fingerprint import fingerprint; print({told})"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources that a test may edit."""
    for package in ("litemill", "components", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("edited", "touched"),
    [
        ("litemill/select/pareto.py", {"compare"}),
        ("litemill/compress/prune.py", {"prune"}),
        ("litemill/evaluate/metrics.py", {"import_model", "evaluate"}),
        ("litemill/convert/schemes.py", {"ptq", "int8_convert", "import_model"}),
        ("litemill/evaluate/worker.py", {"evaluate"}),
        ("litemill/flatbuffer/slim_worker.py", {"ptq", "int8_convert"}),
        ("litemill/errors.py", set(COMPONENTS)),
        ("litemill/cli.py", set()),
    ],
)
def test_an_edit_changes_the_fingerprint_of_what_imports_it(checkout: Path, edited: str, touched: set[str]) -> None:
    """Imports inside functions count, and so do the packages that hold a module."""
    before = fingerprints(checkout)
    file = checkout / edited
    file.write_text(file.read_text() + "\n# changed\n")
    after = fingerprints(checkout)
    changed = {name for name in COMPONENTS if before[name] != after[name]}
    assert touched <= changed
    assert changed <= touched | {"import_model", "benchmark", "evaluate", "ptq", "int8_convert"}


def test_a_component_knows_what_it_runs() -> None:
    """The library's function, what that imports, and the packages around them."""
    modules = modules_of("evaluate")
    assert {"litemill", "litemill.evaluate", "litemill.errors", "litemill.evidence"} <= modules
    assert not any(name.startswith(("litemill.compress", "litemill.report", "litemill.track")) for name in modules)
