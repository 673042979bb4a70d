"""Accelerators of this host: asked for alone, checked for their answers, never replaced in silence."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.benchmark import launch
from litemill.benchmark.litert import LiteRtTarget, actual
from litemill.benchmark.session import ACCELERATOR_TOLERANCE, Subject
from litemill.config.targets import parse_target
from litemill.evidence.outcome import Measurement
from tests import software_gpu as software_gpu_package

OPENVINO = "openvino==2026.3.1"
"""The version that the LiteRT wheel's plug-in links to."""


def measure(subjects: list[Subject], samples: NDArray[np.float32], **spec: Any) -> list[Measurement]:
    target = LiteRtTarget(parse_target({"device": "host", "seconds": 0.05, **spec}))
    measured = target.measure(subjects, samples)
    return [measured[subject.sha256] for subject in subjects]


@pytest.mark.parametrize(("accelerator", "threads"), [("cpu-reference", 1), ("cpu", 2)])
def test_cpu_kernels_and_threads_are_measured_as_asked(
    accelerator: str, threads: int, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    _, int8 = measure([subjects["float32"], subjects["int8"]], samples, accelerator=accelerator, threads=threads)
    assert (int8.status, int8.kind, int8.device["threads"]) == ("ok", "measured", threads)
    assert (int8.requested_accelerator, int8.actual_accelerator) == (accelerator, accelerator)
    assert int8.parity and int8.parity.ok
    assert int8.delegated_fraction is not None and (int8.delegated_fraction > 0) == (accelerator == "cpu")


def test_what_a_delegate_leaves_is_said_to_run_on_the_cpu() -> None:
    assert actual("delegate:/x.so", {"total": 12, "delegated": 11}) == "delegate:/x.so and cpu"
    assert actual("delegate:/x.so", {"total": 12, "delegated": 12}) == "delegate:/x.so"
    assert actual("cpu", {"total": 12, "delegated": 11}) == "cpu"  # XNNPACK's rest is the CPU too


@pytest.mark.parametrize("library", ["/no/such delegate.so", "libc.so.6"])
def test_a_delegate_that_does_not_load_is_a_failed_measurement(
    library: str, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    (one,) = measure([subjects["int8"]], samples, accelerator=f"delegate:{library}")
    assert (one.status, one.latency_ms) == ("failed", {})
    assert library in one.reason or "killed by" in one.reason


@pytest.mark.e2e
@pytest.mark.parametrize("answer", [0, 1, 2])
def test_a_delegate_that_takes_nothing_is_never_the_cpu_in_disguise(
    answer: int, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """Whether it says nothing, an error, or that the interpreter may well go back to the CPU."""
    compiler = shutil.which("cc") or shutil.which("tcc")
    assert compiler, "install a C compiler (tcc will do)"
    library = tmp_path / "idle delegate.so"
    source = Path(__file__).parents[1] / "idle_delegate.c"
    build = [compiler, "-shared", "-fPIC", "-nostdlib", f"-DRETURNS={answer}", "-o", str(library), str(source)]
    subprocess.run(build, check=True)
    (one,) = measure([subjects["int8"]], samples, accelerator=f"delegate:{library}")
    assert (one.status, one.latency_ms, one.parity) == ("failed", {}, None)
    assert ("took none of" if answer == 0 else "RuntimeError: ") in one.reason


@pytest.mark.parametrize(
    ("accelerator", "answer"),
    [("npu:qualcomm", "no dispatch library for 'qualcomm'"), ("npu:nobody", "no dispatch library for 'nobody'")],
)
def test_an_npu_without_its_library_is_named(
    accelerator: str, answer: str, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    (one,) = measure([subjects["int8"]], samples, accelerator=accelerator)
    assert (one.status, one.latency_ms) == ("failed", {})
    assert answer in one.reason


@pytest.fixture(scope="session")
def mesa(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the Vulkan loader finds Mesa's software GPU."""
    assert software_gpu_package.available(), "Mesa's software GPU is fetched for Debian 12 on x86-64 only"
    return software_gpu_package.unpack(tmp_path_factory.mktemp("mesa"))


@pytest.fixture
def software_gpu(mesa: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is a program on the CPU, for the time of a test."""
    for name, value in mesa.items():
        monkeypatch.setenv(name, value)


@pytest.mark.e2e
def test_a_gpu_that_is_a_program_on_the_cpu_answers_rightly_and_is_called_emulated(
    software_gpu: None, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    schemes = ("float32", "float16", "dynamic", "int8")
    for one in measure([subjects[scheme] for scheme in schemes], samples, accelerator="gpu"):
        assert (one.status, one.reason, one.kind, one.delegated_fraction) == ("ok", "", "emulated", 1.0)
        assert one.details["adapter"].startswith("llvmpipe ")
        # half precision leaves its mark: the CPU's own kernels would agree to 1e-6
        assert one.parity and 1e-5 < one.parity.max_error < ACCELERATOR_TOLERANCE
        assert one.latency_ms["p50"] > 0


@pytest.mark.e2e
def test_parity_refuses_a_gpu_that_is_further_off_than_half_precision(
    software_gpu: None, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    """Inputs that half precision cannot hold."""
    (one,) = measure([subjects["float32"]], samples * 3e5, accelerator="gpu")
    assert one.status == "failed" and one.reason.startswith("outputs differ by ")
    assert one.parity and not one.parity.ok


def test_a_host_without_a_gpu_says_so_and_does_not_run_on_the_cpu(
    subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.setenv(name, "/no/such/driver.json")
    (one,) = measure([subjects["float32"]], samples, accelerator="gpu")
    assert (one.status, one.latency_ms, one.parity) == ("failed", {}, None)
    assert "gpu: Failed to initialize WebGPU environment: INTERNAL: No adapters found" in one.reason


@pytest.fixture(scope="session")
def openvino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenVINO in a folder of its own: 180 MB that no image needs."""
    folder = tmp_path_factory.mktemp("openvino")
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, "--python", sys.executable, OPENVINO], check=True)
    return folder


@pytest.mark.e2e
def test_the_npu_path_of_litert_runs_on_openvino_s_cpu_and_is_called_emulated(
    openvino: Path, subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(openvino / "openvino" / "libs"))
    float32, int8 = measure([subjects["float32"], subjects["int8"]], samples, accelerator="npu:intel-cpu")
    for one in (float32, int8):
        assert (one.status, one.reason, one.kind, one.delegated_fraction) == ("ok", "", "emulated", 1.0)
        assert one.parity and one.parity.ok
    monkeypatch.delenv("LD_LIBRARY_PATH")
    (without,) = measure([subjects["float32"]], samples, accelerator="npu:intel-cpu")
    assert (without.status, without.latency_ms) == ("failed", {})
    assert "Some ops are not accelerated" in without.reason


def test_last_words_are_the_exception_and_not_the_runtime_s_log() -> None:
    answered = (
        "INFO: a\nTraceback (most recent call last):\n  File x\nRuntimeError: ERROR: [a.h:1]\n└ why\nINFO: gone\n"
    )
    assert launch.last_line(answered) == "RuntimeError: ERROR: [a.h:1] └ why"
    assert launch.last_line("INFO: a\n") == "it printed nothing"
    assert launch.last_line("one\ntwo\n") == "two"
