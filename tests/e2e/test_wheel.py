"""The wheel, in a bare environment and an empty folder: the whole pipeline runs, with the checkout's digests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = {
    "name": "from-a-wheel",
    "model": {"uri": "model.keras"},
    "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}},
    "training": {"epochs": 1, "batch_size": 64, "learning_rate": 2.0e-3},
    "recipes": {"float16": ["float16"], "int8": ["int8"], "pruned": [{"prune": {"sparsity": 0.5}}, "int8"]},
    "targets": [{"name": "host", "device": "host", "seconds": 0.2}],
}

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays clean."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "litemill", source / "litemill", ignore=shutil.ignore_patterns("__pycache__"))
    uv("build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", out, source)
    return next(out.glob("litemill-*.whl"))


def uv(*words: object) -> None:
    """Run the uv of this environment."""
    subprocess.run([Path(sys.executable).parent / "uv", *map(str, words)], check=True)


def run(folder: Path, program: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run the config in a folder and return its results."""
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    words = [program.parent / "python", program, "run", "config.yaml", "--json"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def test_the_wheel_holds_the_library_whole_and_nothing_else(wheel: Path) -> None:
    """Every module, what they read, and the mark that says it is typed."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [file for file in (ROOT / "litemill").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert packed == {file.relative_to(ROOT).as_posix() for file in files}
    assert {"litemill/py.typed", "litemill/report/templates/report.html.j2", "litemill/components/prune.py"} <= packed


def pythons() -> list[str]:
    """Every supported Python of this machine: the one that runs the tests, and what pyenv and PATH have."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    for version in ("3.11", "3.12", "3.13"):
        installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for program in (*map(str, installed), shutil.which(f"python{version}")):
            works = program and subprocess.run([program, "-c", "import venv"], capture_output=True, check=False)
            if program and works and not works.returncode:
                found.setdefault(version, program)
    return sorted(found.values())


@pytest.mark.parametrize("python", pythons())
def test_the_wheel_runs_in_a_bare_environment_as_the_checkout_does(python: str, wheel: Path, tmp_path: Path) -> None:
    """Installed with the extra `all`, in an empty folder, from a model that is made there."""
    bare, here, there = tmp_path / "venv", tmp_path / "bare", tmp_path / "checkout"
    here.mkdir()
    there.mkdir()
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    uv("venv", "--quiet", "--python", python, bare)
    constraint = ("--constraint", ROOT / "requirements.lock")
    wanted = f"litemill[all] @ {wheel.as_uri()}"
    uv("pip", "install", "--quiet", "--python", bare / "bin/python", *constraint, wanted)
    shutil.copy(ROOT / "examples/digits/train.py", tmp_path)
    subprocess.run([bare / "bin/python", tmp_path / "train.py", "model.keras"], cwd=here, env=clean, check=True)
    shutil.copy(here / "model.keras", there)

    found = run(here, bare / "bin/litemill", clean)

    assert {file.name for file in here.iterdir()} >= {"out", ".litemill", "model.keras"}
    assert (here / "out/from-a-wheel/report.html").is_file()
    expected = run(there, Path(sys.executable).parent / "litemill", {**clean, "PYTHONPATH": str(ROOT)})
    digests = [{one["recipe"]: one["sha256"] for one in each["variants"]} for each in (found, expected)]
    assert digests[0] == digests[1]
    assert set(digests[0]) == set(CONFIG["recipes"]) and all(digests[0].values())
