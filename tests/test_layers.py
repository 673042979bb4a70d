"""The layers hold: imports go one way, light commands import nothing heavy, components are thin."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import litemill

ROOT = Path(__file__).parents[1]
COMPONENTS = sorted(
    path for path in (ROOT / "litemill" / "components").glob("*.py") if path.stem not in ("__init__", "images")
)
LIGHT = (
    "data.checks",
    "data.prepare",
    "evaluate",
    "benchmark",
    "flatbuffer",
    "select",
    "track",
    "report",
    "artifacts",
    "cli",
    "models.fit",
    "models.peek",
    "models.store",
    "convert.bundle",
    "compress.train",
    "slim.files",
    "slim.rewrite",
)
HEAVY = ("tensorflow", "tf_keras", "mlflow", "kfp", "sklearn", "google.cloud.storage")


def test_imports_go_one_way() -> None:
    """pipelines -> components -> litemill, no TensorFlow in the light image, MLflow only in track, no Kubeflow."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_module_of_the_library_loads_nothing_heavy(module: str) -> None:
    """TensorFlow takes six seconds to import, MLflow two: they are loaded where they are needed."""
    code = f"import sys, litemill.{module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_a_component_is_thin(path: Path) -> None:
    """Outside its function a component imports kfp, typing and the image names; inside, litemill, for a few lines."""
    tree = ast.parse(path.read_text())
    outside = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(
        isinstance(node, ast.ImportFrom) and node.module in ("kfp", "kfp.dsl", "typing", "litemill.components.images")
        for node in outside
    )
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == [path.stem]
    body = functions[0].body
    assert ast.get_docstring(functions[0])
    inside = [node for node in body if isinstance(node, ast.ImportFrom | ast.Import)]
    allowed = {"import litemill as lm", "from pathlib import Path", "import json", "import shutil"}
    assert {ast.unparse(node) for node in inside} <= allowed
    used = {
        node.attr for node in ast.walk(functions[0]) if isinstance(node, ast.Attribute) and _is_litemill(node.value)
    }
    assert used and used <= set(litemill.PLACES), "a compiled pipeline on a server may use public names only"
    statements = [node for node in body[1:] if node not in inside]
    assert len(statements) <= 6
    assert not any(isinstance(node, ast.If | ast.For | ast.While | ast.Try) for node in ast.walk(functions[0]))


def _is_litemill(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "lm"


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_a_component_installs_nothing_at_run_time(path: Path) -> None:
    """What a task needs is in its image."""
    text = path.read_text()
    assert "install_kfp_package=False" in text
    assert "packages_to_install" not in text
