"""The runner that is pushed to devices, driven in this process."""

import ast
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.benchmark import launch, python_runner
from litemill.benchmark.device.litemill_runner import timing
from litemill.benchmark.python_runner import Entry, RunnerOptions, run_local
from litemill.benchmark.session import Subject
from litemill.errors import StepFailed
from litemill.evidence.variant import VariantManifest
from litemill.runtime.runner import Runner

RUNNER = launch.DEVICE / "litemill_runner"


def test_it_needs_only_the_standard_library_numpy_and_litert() -> None:
    nodes = [node for path in RUNNER.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    imported = {name.partition(".")[0] for name in imported}
    assert imported <= set(sys.stdlib_module_names) | {"numpy", "ai_edge_litert"}


@pytest.fixture
def subject(bundle: Path) -> Subject:
    manifest = read_manifest(bundle / "int8" / "variant.json", VariantManifest)
    return Subject.of(manifest, bundle / "int8" / "model.tflite")


@pytest.fixture
def entry(subject: Subject, digits_dataset: Path, tmp_path: Path) -> Entry:
    np.save(tmp_path / "inputs.npy", subject.raw(np.load(digits_dataset / "test" / "x.npy")[:5]))
    return Entry("int8", str(subject.path), str(tmp_path / "inputs.npy"))


@pytest.mark.parametrize(("accelerator", "kernels"), [("cpu", "xnnpack"), ("cpu-reference", "reference")])
def test_outputs_are_those_of_the_evaluation(
    accelerator: str, kernels: str, subject: Subject, entry: Entry, digits_dataset: Path, tmp_path: Path
) -> None:
    options = RunnerOptions(accelerator=accelerator)
    result = run_local("probe", [entry], options, tmp_path / "out", time_limit=60)
    found = subject.real(python_runner.read_outputs(tmp_path / "out", "int8"))
    expected = Runner(subject.path, kernels=kernels).run(np.load(digits_dataset / "test" / "x.npy")[:5])  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, expected)
    assert (result["ops"]["delegated"] > 0) == (accelerator == "cpu")
    assert result["ops"]["total"] >= 5


def test_episodes_hold_equal_rounds_and_calls_and_all_models(entry: Entry, tmp_path: Path) -> None:
    counterpart = Entry("twin", entry.path, entry.inputs)
    options = RunnerOptions(seconds=0.05, warmup_seconds=0.01)
    result = run_local("latency", [entry, counterpart], options, tmp_path / "out", time_limit=60)
    times = {key: np.array(found) for key, found in result["samples_ms"].items()}
    assert set(times) == {"int8", "twin"}
    assert times["int8"].ndim == 3 and times["int8"].shape[:2] == times["twin"].shape[:2]
    assert len(times["int8"]) == timing.EPISODES
    assert all((found > 0).all() for found in times.values())
    # `invoke` releases the interpreter lock: another busy thread would be measured too
    assert result["python_threads"] == 1


def test_warm_up_reaches_both_limits() -> None:
    class Model:
        calls = 0

        def invoke(self) -> None:
            self.calls += 1

    model = Model()
    timing.warm_up(model, calls=20, seconds=0.0)  # type: ignore[arg-type]
    assert model.calls == 20
    start = time.perf_counter()
    timing.warm_up(model, calls=1, seconds=0.05)  # type: ignore[arg-type]
    assert time.perf_counter() - start >= 0.05


def test_a_hang_is_ended_and_named(entry: Entry, tmp_path: Path) -> None:
    options = RunnerOptions(warmup_seconds=1e9)
    with pytest.raises(StepFailed, match="the runner took more than 3 s and was ended"):
        run_local("latency", [entry], options, tmp_path / "out", time_limit=3)


def test_the_last_words_of_a_dead_runner_are_told(entry: Entry, tmp_path: Path) -> None:
    lost = Entry("lost", str(tmp_path / "no such.tflite"), entry.inputs)
    with pytest.raises(StepFailed, match=r"the runner ended with exit code 1: ValueError: Could not open .*no such"):
        run_local("probe", [lost], RunnerOptions(), tmp_path / "out", time_limit=60)
    assert launch.death(-11, b"") == "the runner was killed by SIGSEGV: it printed nothing"


def test_a_file_beside_the_runner_or_in_the_current_folder_shadows_nothing(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    run_local("probe", [entry], RunnerOptions(), tmp_path / "out", time_limit=60)


def test_peak_memory_is_the_process_s_own(entry: Entry, tmp_path: Path) -> None:
    """A parent with a high peak does not show in the child."""
    big = np.ones(1 << 25)  # 256 MiB
    result = run_local("probe", [entry], RunnerOptions(), tmp_path / "out", time_limit=60)
    assert 20e6 < result["peak_memory_bytes"] < big.nbytes / 2


def test_it_runs_away_from_this_package(entry: Entry, tmp_path: Path) -> None:
    """As on a device: the folder alone, started from beside it."""
    shutil.copytree(RUNNER, tmp_path / "device" / "litemill_runner")
    job = {"mode": "probe", "accelerator": "cpu", "threads": 2, "out": str(tmp_path / "out"), "time_limit": 60}
    (tmp_path / "job.json").write_text(json.dumps(job | {"models": [vars(entry)]}))
    subprocess.run(
        [sys.executable, "-m", "litemill_runner", str(tmp_path / "job.json")],
        check=True,
        capture_output=True,
        cwd=tmp_path / "device",
        env={"PATH": "/usr/bin:/bin"},
    )
    assert (tmp_path / "out" / "int8.npy").exists()
