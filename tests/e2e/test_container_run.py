"""`run --runner container`: the same results as in subprocesses, right exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from litemill.errors import LitemillError
from litemill.pipelines.containers import LABEL, container_runner
from litemill.pipelines.execute import Order
from tests.e2e.conftest import ROOT, Engine

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, digits_model: Path, digits_dataset: Path) -> Path:
    """A folder with a config, its model and its data, the paths written as a user would: relative."""
    folder = tmp_path_factory.mktemp("container run")
    (folder / "model.keras").write_bytes((digits_model.parent / "digits.keras").read_bytes())
    arrays = {}
    for split, count in (("train", 300), ("test", 150)):
        for name in ("x", "y"):
            arrays[f"{name}_{split}"] = np.load(digits_dataset / split / f"{name}.npy")[:count]
    np.savez(folder / "data.npz", **arrays)
    config = {
        "name": "contained",
        "model": {"uri": "model.keras"},
        "data": {"kind": "npz", "uri": "data.npz"},
        "recipes": {"float32": ["float32"], "int8": ["int8"]},
        "budget": {"max_accuracy_drop": 0.5},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command line in a folder."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.Popen(
        [sys.executable, "-m", "litemill", "run", "run.yaml", *options],
        cwd=folder,
        env={**variables, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A suite that runs in the background of a shell inherits SIGINT ignored; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Run the command line in a folder; its exit code and what it showed."""
    process = start(folder, *options, **environment)
    shown, _ = process.communicate()
    return process.returncode, shown


def ours(engine: Engine) -> list[str]:
    """Containers of pipeline runs that exist."""
    return engine("ps", "--all", "--quiet", "--filter", f"label={LABEL}").stdout.split()


def test_containers_give_what_subprocesses_give(engine: Engine, workspace: Path) -> None:
    inside = run(workspace, "--runner", "container", "--out", "inside", "--work", "w-inside")
    outside = run(workspace, "--out", "outside", "--work", "w-outside")

    assert inside[0] == outside[0] == 0, inside[1] + outside[1]
    found = [json.loads((workspace / name / "results.json").read_text()) for name in ("inside", "outside")]
    keep = ("recipe", "sha256", "size_bytes", "gzip_bytes", "accuracy", "accuracy_drop", "verdict")
    inner, outer = [[{key: row[key] for key in keep} for row in one["variants"]] for one in found]
    assert inner == outer
    assert len(inner) == 2
    assert found[0]["mlflow_run_id"] != found[1]["mlflow_run_id"]
    for file in (workspace / "inside").rglob("*"):
        assert (file.stat().st_uid, file.stat().st_gid) == (os.getuid(), os.getgid())
    assert ours(engine) == []


def test_the_cache_knows_the_image(engine: Engine, workspace: Path) -> None:
    code, shown = run(workspace, "--runner", "container", "--out", "inside", "--work", "w-inside")

    marks = dict(re.findall(r"^([✓=✗]) (\S+)", shown, re.MULTILINE))
    cached = {name for mark, name in re.findall(r"^([✓=✗]) (\S+)", shown, re.MULTILINE) if mark == "="}
    assert code == 0, shown
    assert {"prepare-data", "import-model", "evaluate-source"} <= cached, marks


def test_without_mlflow_a_run_in_containers_keeps_what_it_found(engine: Engine, workspace: Path) -> None:
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    code, shown = run(workspace, "--runner", "container", "--out", "no", "--work", "w-failing", **nowhere)

    assert code == 1
    assert "MLflow at http://127.0.0.1:9: cannot start a run" in shown, shown
    assert "litemill sync no" in shown, shown
    assert json.loads((workspace / "no" / "results.json").read_text())["winner"] == "int8"
    assert ours(engine) == []


@pytest.mark.parametrize("code", [0, 1, 3, 137])
def test_exit_codes_are_those_of_the_task(
    engine: Engine, workspace: Path, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "passed on")
    monkeypatch.setenv("HOME_GROWN_SECRET", "kept here")
    script = f'echo "<$MLFLOW_EXPERIMENT_NAME|$TASK|$HOME_GROWN_SECRET|$PWD>"; exit {code}'

    with container_runner([engine.edge], workspace / "w") as containers:
        order = Order("task", "function", engine.edge, ["sh", "-c", script], {"TASK": "t"})
        with (tmp_path / "log").open("wb") as output:
            failed = containers.launch(order, output).wait()

    assert bool(failed) == bool(code)
    assert f"<passed on|t||{workspace}>" in (tmp_path / "log").read_text()
    assert ours(engine) == []


def test_an_image_that_is_not_here_is_told_before_anything_runs(
    engine: Engine, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)

    answer = pytest.raises(LitemillError, match=r"localhost/no-such:1: there is no such image here\. Build it with")
    with answer, container_runner(["localhost/no-such:1"], workspace / "w"):
        pytest.fail("nothing may run")


def test_a_service_that_does_not_answer_is_told(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")

    answer = pytest.raises(LitemillError, match=r"unix:///nowhere\.sock: no docker or podman answers")
    with answer, container_runner([], workspace / "w"):
        pytest.fail("nothing may run")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_container(engine: Engine, workspace: Path, stop: signal.Signals) -> None:
    temporary = workspace / "t"
    temporary.mkdir(exist_ok=True)
    options = ("--runner", "container", "--no-cache", "--out", "stopped", "--work", "w-stopped")
    process = start(workspace, *options, TMPDIR=str(temporary))
    try:
        for _ in range(600):
            if ours(engine):
                break
            assert process.poll() is None
            time.sleep(0.1)
        assert ours(engine)
        process.send_signal(stop)
        process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == (-stop if stop == signal.SIGKILL else 128 + stop)
    for _ in range(100):  # after a kill a process beside the run removes them
        if not ours(engine):
            break
        time.sleep(0.1)
    assert ours(engine) == []
    assert not (workspace / "stopped").exists()
    # A run that was killed cannot remove its own folder: the next one does.
    for _ in range(100):
        if not [place for place in temporary.iterdir() if stop != signal.SIGKILL or "-run-" not in place.name]:
            break
        time.sleep(0.1)
    assert [place for place in temporary.iterdir() if stop != signal.SIGKILL or "-run-" not in place.name] == []
