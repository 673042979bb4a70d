"""The cache key knows the library's code: a change reruns what imports it, and nothing else."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from litemill.pipelines.fingerprint import files_of, own_code

ROOT = Path(__file__).parents[2]
COMPONENTS = ["prepare_data", "import_model", "prune", "int8_convert", "evaluate", "benchmark", "compare"]


def fingerprints(checkout: Path) -> dict[str, str]:
    """The fingerprint of each component, as a fresh process in that checkout computes it."""
    answer = f"json.dumps({{name: fingerprint(name) for name in {COMPONENTS}}})"
    code = f"import json; from litemill.pipelines.fingerprint import fingerprint; print({answer})"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources that a test may edit."""
    shutil.copytree(ROOT / "litemill", tmp_path / "litemill", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("edited", "touched", "untouched"),
    [
        ("litemill/select/pareto.py", {"compare"}, {"prune", "int8_convert", "evaluate", "benchmark"}),
        ("litemill/report/templates/report.html.j2", {"compare"}, set(COMPONENTS) - {"compare"}),
        ("litemill/compress/prune.py", {"prune"}, {"prepare_data", "evaluate", "benchmark", "compare"}),
        (
            "litemill/convert/from_saved_model.py",
            {"import_model", "int8_convert"},
            {"prepare_data", "evaluate", "benchmark"},
        ),
        ("litemill/evaluate/worker.py", {"evaluate"}, {"prepare_data", "benchmark"}),
        ("litemill/slim/worker.py", {"int8_convert"}, {"evaluate", "compare"}),
        ("litemill/errors.py", set(COMPONENTS), set()),
        ("litemill/cli/app.py", set(), set(COMPONENTS)),
    ],
)
def test_an_edit_changes_the_fingerprint_of_what_runs_it(
    checkout: Path, edited: str, touched: set[str], untouched: set[str]
) -> None:
    """Imports inside functions count, and so do workers started by name and templates.

    `prepare_data` looks into the model for the size of images, so it runs what reads models.
    """
    before = fingerprints(checkout)
    file = checkout / edited
    file.write_text(file.read_text() + "\n# changed\n")
    after = fingerprints(checkout)
    changed = {name for name in COMPONENTS if before[name] != after[name]}
    assert touched <= changed
    assert not changed & untouched


def test_a_component_knows_what_it_runs() -> None:
    """The library's function, the worker it starts, what both import; not what other components run."""
    files = {file.as_posix() for file in files_of("evaluate")}
    for name in ("evaluate/worker.py", "runtime/runner.py", "errors.py", "evidence/variant.py"):
        assert any(file.endswith(f"litemill/{name}") for file in files)
    for folder in ("compress", "report", "track", "benchmark"):
        assert not any(f"litemill/{folder}/" in file for file in files)


def test_a_users_own_code_counts_with_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function's module, what it imports beside itself, also inside functions; nothing is run to find out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sensors").mkdir()
    modules = {
        "sensors/__init__.py": "",
        "sensors/load.py": "import numpy\nfrom sensors import cut\ndef load():\n    import shapes\n    1 / 0\n",
        "sensors/cut.py": "WINDOW = 128\n",
        "shapes.py": "raise SystemExit\n",
        "unrelated.py": "",
    }
    for name, text in modules.items():
        (tmp_path / name).write_text(text)
    digests = [own_code("sensors.load:load")]
    for name in modules:
        (tmp_path / name).write_text(f"{modules[name]}# changed\n")
        digests.append(own_code("sensors.load:load"))
    changed = [before != after for before, after in itertools.pairwise(digests)]
    assert dict(zip(modules, changed, strict=True)) == {name: name != "unrelated.py" for name in modules}
    (tmp_path / "sensors/load.py").write_text("def broken(:\n")
    assert own_code("sensors.load:load") not in ("", *digests)
    assert own_code("absent:load") == own_code("top1") == own_code("") == ""
