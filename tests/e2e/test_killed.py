"""A run that is ended in each of its phases leaves nothing behind, and the next one ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PHASES = ("prepare-data", "prune", "int8-convert-prune", "benchmark-host-prune", "log-variants-prune")
CONFIG = {
    "name": "killed",
    "model": {"uri": "model.keras"},
    "data": {"kind": "npz", "uri": "data.npz"},
    "training": {"epochs": 4, "batch_size": 32, "learning_rate": 1e-3},
    "recipes": {"int8": ["int8"], "pruned": ["prune", "int8"]},
    "budget": {"max_accuracy_drop": 0.9},
}
LONGEST = 900.0
"""Seconds: on a busy machine a run takes ten times as long as on an idle one."""


@dataclass
class Place:
    """A folder with a model, data and a config, where temporary files go to a folder that is looked into."""

    folder: Path

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    def start(self, out: str = "found") -> subprocess.Popen[str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        own = {
            "TMPDIR": str(self.temporary),
            "LITEMILL_CHECKPOINTS": str(self.folder / "checkpoints"),
            "MARK": str(self.folder),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "litemill", "run", "run.yaml", "--out", out],
            cwd=self.folder,
            env={**variables, **own, "PYTHONPATH": paths, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def begun(self, task: str) -> int:
        """How often a task began, in all runs."""
        return len(list(self.folder.glob(f".litemill/logs/*/{task}.log")))

    def family(self) -> list[int]:
        """Processes of the runs in this folder that are still there."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"MARK={self.folder}\0".encode() in (place / "environ").read_bytes()
                if marked and ") Z " not in (place / "stat").read_text():
                    found.append(int(place.name))
            except OSError:
                continue
        return found

    def states(self) -> list[str]:
        import sqlite3

        with sqlite3.connect(self.folder / "mlflow.db") as store:
            return [state for (state,) in store.execute("select status from runs")]

    def digests(self, out: str = "found") -> dict[str, str]:
        found = json.loads((self.folder / out / "results.json").read_text())
        return {one["recipe"]: one["sha256"] for one in found["variants"]}


@pytest.fixture(scope="module")
def made(
    digits_model: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Place]]:
    places: list[Place] = []
    arrays = {
        f"{name}_{split}": np.load(digits_dataset / split / f"{name}.npy")[:count]
        for split, count in (("train", 600), ("test", 150))
        for name in ("x", "y")
    }

    def make(name: str) -> Place:
        folder = tmp_path_factory.mktemp(name)
        (folder / "model.keras").write_bytes((digits_model.parent / "digits.keras").read_bytes())
        np.savez(folder / "data.npz", **arrays)
        (folder / "run.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
        (folder / "temporary").mkdir()
        places.append(Place(folder))
        return places[-1]

    yield make
    for pid in [pid for place in places for pid in place.family()]:  # of a test that failed
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(made: Callable[[str], Place]) -> Place:
    place = made("undisturbed")
    run = place.start()
    shown, _ = run.communicate(timeout=LONGEST)
    assert run.returncode == 0, shown
    return place


def wait_for(condition: Callable[[], object], run: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < until
        assert run is None or run.poll() is None, run.communicate()[0]
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_in_any_phase_leaves_nothing_and_the_next_one_is_whole(
    number: signal.Signals, made: Callable[[str], Place], undisturbed: Place
) -> None:
    place = made(number.name)
    for phase in PHASES:
        before = place.begun(phase)
        run = place.start()
        wait_for(lambda phase=phase, before=before: place.begun(phase) > before, run)  # type: ignore[misc]
        run.send_signal(number)
        shown, _ = run.communicate(timeout=LONGEST)
        wait_for(lambda: not place.family())
        if number == signal.SIGKILL:
            assert run.returncode == -signal.SIGKILL
            continue
        assert run.returncode == 128 + number, shown
        assert shown.splitlines()[-1] == f"interrupted by {number.name}"
        assert "Traceback" not in shown
        assert set(place.states()) <= {"KILLED", "FINISHED", "FAILED"}
        assert not list(place.temporary.iterdir())

    run = place.start()
    shown, _ = run.communicate(timeout=LONGEST)
    assert run.returncode == 0, shown
    assert ("note: closed the MLflow run of" in shown) == (number == signal.SIGKILL)
    assert "= prune " in shown, "what was done before stays done"
    assert place.digests() == undisturbed.digests()
    assert "RUNNING" not in place.states()
    assert not list(place.temporary.iterdir())
    assert not place.family()
    assert not (place.folder / ".litemill/runs").exists()


def test_a_task_that_dies_costs_no_other_branch_its_results(made: Callable[[str], Place], undisturbed: Place) -> None:
    """Its recipes are named with what happened; table, report and MLflow hold the others; the exit code is 1."""
    place = made("died")
    run = place.start()
    wait_for(lambda: place.begun("prune"), run)
    wait_for(lambda: pid_of(place, "prune"), run)
    os.kill(pid_of(place, "prune"), signal.SIGSEGV)
    shown, _ = run.communicate(timeout=LONGEST)
    assert run.returncode == 1, shown
    assert "error: task prune failed: the task's process was killed by SIGSEGV" in shown
    assert place.digests()["int8"] == undisturbed.digests()["int8"]
    found = {one["recipe"]: one for one in json.loads((place.folder / "found/results.json").read_text())["variants"]}
    assert "task prune failed: the task's process was killed by SIGSEGV" in found["pruned"]["reason"]
    assert "SIGSEGV" in (place.folder / "found/report.html").read_text()
    assert set(place.states()) == {"FINISHED", "FAILED"}
    assert not list(place.temporary.iterdir())

    again = place.start()
    shown, _ = again.communicate(timeout=LONGEST)
    assert again.returncode == 0, shown
    assert place.digests() == undisturbed.digests()


def test_two_runs_at_once_in_one_folder_are_both_whole(made: Callable[[str], Place], undisturbed: Place) -> None:
    """Where both want the same task one waits for the other, and is served."""
    place = made("two")
    runs = [place.start(out) for out in ("one", "other")]
    shown = [run.communicate(timeout=LONGEST)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], shown
    assert place.digests("one") == place.digests("other") == undisturbed.digests()
    assert sum("✓ prune " in text for text in shown) == sum("= prune " in text for text in shown) == 1
    assert set(place.states()) == {"FINISHED"}
    assert not list(place.temporary.iterdir())


def pid_of(place: Place, task: str) -> int:
    """The process of a task, which is called like it; 0 where there is none."""
    for pid in place.family():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == task:
                return pid
    return 0
