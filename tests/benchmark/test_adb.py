"""The `adb://` target: the real adb client against a device on loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.benchmark.adb import AdbDevice, find_adb
from litemill.benchmark.benchmark_model import delegated, flags, read_line, read_result
from litemill.benchmark.registry import open_target
from litemill.benchmark.session import Subject
from litemill.errors import DeviceError
from litemill.evidence import Measurement
from litemill.targets import parse_target
from tests.loopback_adbd import LoopbackAdbd

STAND_IN = Path(__file__).parents[1] / "stand_in_benchmark_model.py"


@pytest.fixture(scope="module", autouse=True)
def adb_server() -> Iterator[None]:
    """An adb server of our own, so that a developer's phone is left alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = os.environ.get("ANDROID_ADB_SERVER_PORT")
    os.environ["ANDROID_ADB_SERVER_PORT"] = str(port)
    yield
    subprocess.run([find_adb("test"), "kill-server"], check=False, capture_output=True)
    os.environ.pop("ANDROID_ADB_SERVER_PORT")
    if before:
        os.environ["ANDROID_ADB_SERVER_PORT"] = before


@pytest.fixture
def device(tmp_path: Path) -> Iterator[LoopbackAdbd]:
    adbd = LoopbackAdbd(tmp_path / "device")
    yield adbd
    adbd.stop()


def binary(folder: Path, behaviour: str = "good") -> Path:
    """An executable benchmark_model with a behaviour."""
    path = folder / f"benchmark model {behaviour}"
    text = STAND_IN.read_text().replace('BEHAVIOUR = "good"', f'BEHAVIOUR = "{behaviour}"')
    path.write_text(f"#!{sys.executable}\n{text}")
    return path


def measure(
    device: LoopbackAdbd, subjects: list[Subject], samples: NDArray[np.float32], model: Path, **more: Any
) -> list[Measurement]:
    spec = {"name": "phone", "device": f"adb://{device.serial}", "benchmark_model": str(model), **more}
    measured = open_target(parse_target(spec)).measure(subjects, samples)
    return [measured[subject.sha256] for subject in subjects]


@pytest.mark.e2e
def test_a_device_is_measured_checked_and_left_clean(
    device: LoopbackAdbd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    _, one = measure(device, [subjects["float32"], subjects["int8"]], samples, binary(tmp_path))
    assert (one.status, one.reason, one.kind, one.actual_accelerator) == ("ok", "", "measured", "cpu")
    assert one.parity and one.parity.ok and one.parity.samples == 8
    assert set(one.latency_ms) == {"p50"} and one.latency_ms["p50"] > 0
    assert one.init_ms == pytest.approx(5.685) and one.first_inference_ms == pytest.approx(18.535)
    assert one.peak_memory_bytes == int(12.5 * (1 << 20))
    assert one.ratio_to_float32 and one.details["rounds"] == 8
    assert list(device.path("/data/local/tmp").iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("behaviour", "more", "told"),
    [
        ("crash", {}, "benchmark_model ended with exit code 7: Failed to allocate tensors!"),
        ("wrong", {}, "outputs differ by "),
        ("no-output", {}, "this benchmark_model writes no outputs (--output_filepath)"),
        ("partial", {"accelerator": "gpu"}, "gpu took some of its ops, not all"),
        ("good", {"accelerator": "nnapi:edgetpu"}, "nnapi:edgetpu took none of its ops, not all"),
    ],
)
def test_what_a_runner_does_wrong_is_a_failed_measurement(
    behaviour: str,
    more: dict[str, Any],
    told: str,
    device: LoopbackAdbd,
    subjects: dict[str, Subject],
    samples: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    (one,) = measure(device, [subjects["int8"]], samples, binary(tmp_path, behaviour), **more)
    assert one.status == "failed"
    assert one.reason.startswith(told)


@pytest.mark.e2e
def test_averages_are_not_called_medians(
    device: LoopbackAdbd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    (one,) = measure(device, [subjects["int8"]], samples, binary(tmp_path, "line-only"), accelerator="cpu")
    assert (one.status, set(one.latency_ms)) == ("ok", {"mean"})


@pytest.mark.parametrize("shell_v2", [True, False])
def test_exit_codes_come_through_with_and_without_shell_v2(shell_v2: bool, tmp_path: Path) -> None:
    """Without it adb itself ends with 0 after `exit 7`."""
    adbd = LoopbackAdbd(tmp_path / "old", shell_v2=shell_v2)
    with AdbDevice(f"adb://{adbd.serial}") as device:
        assert device.shell("(exit 7)") == (7, "")
        assert device.shell('echo "it\'s $((1 + 1))"; echo oops >&2') == (0, "it's 2\noops")
        with pytest.raises(DeviceError, match=r"exit code 3"):
            device.check("(exit 3)")
    adbd.stop()


def test_files_go_there_and_back_under_any_name_and_only_once(device: LoopbackAdbd, tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "odd" [1]* $(touch pwned).bin'
    odd.write_bytes(b"\0\1" * 70000)
    with AdbDevice(f"adb://{device.serial}") as opened:
        target = opened.push(odd, "one.bin")
        assert device.path(target).read_bytes() == odd.read_bytes()
        odd.write_bytes(b"new")
        assert opened.push(odd, "one.bin") == target
        assert opened.pull("one.bin", tmp_path / "back").read_bytes() == b"\0\1" * 70000
        with pytest.raises(DeviceError, match="no-such could not be fetched"):
            opened.pull("no-such", tmp_path / "back")
    assert not device.path(target).exists()


def test_a_restarted_device_is_connected_anew(device: LoopbackAdbd) -> None:
    with AdbDevice(f"adb://{device.serial}") as opened:
        opened.check("true")
    device.drop()
    with AdbDevice(f"adb://{device.serial}") as opened:
        assert opened.facts()["cores"].isdigit()


def test_each_way_a_device_fails_has_its_error(device: LoopbackAdbd, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"adb://NOSUCH: adb does not see it\. Compare with `adb devices`"):
        AdbDevice("adb://NOSUCH").__enter__()
    with AdbDevice(f"adb://{device.serial}") as opened:
        device.full = True
        (tmp_path / "file").write_text("x")
        with pytest.raises(DeviceError, match=r"its disk is full\. Free /data/local/tmp"):
            opened.push(tmp_path / "file", "file")
        with pytest.raises(DeviceError, match=r"it did not answer within 0\.5 s"):
            opened.shell("sleep 5", seconds=0.5)
    device.stop()
    with pytest.raises(DeviceError, match=r"adb cannot connect to it|it is offline|adb does not see it"):
        AdbDevice(f"adb://{device.serial}").__enter__()


def test_the_real_line_and_a_result_file_are_read() -> None:
    line = (
        "Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, Inference (avg): 14575.2"
    )
    found = read_line(f"STARTING!\n{line}\n")
    assert found and (found.init, found.first, found.mean, found.median) == (5.685, 18.535, 14.5752, None)
    assert read_line("nothing") is None
    for broken in (b"", b"\x12\x05\x0d", b"\xff" * 20, b"\x12\x00"):
        assert read_result(broken) is None


@pytest.mark.parametrize(
    ("output", "share"),
    [
        ("Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.", "all"),
        ("… the model graph will be partially executed by the delegate w/ 2 delegate kernels.", "some"),
        ("Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.", "none"),
        ("Failed to apply the default TensorFlow Lite delegate", "none"),
    ],
)
def test_a_silent_fallback_is_read_from_what_it_prints(output: str, share: str) -> None:
    assert delegated(output) == share


def test_an_accelerator_is_asked_for_alone() -> None:
    assert flags("cpu", 2) == ["--use_xnnpack=true", "--num_threads=2"]
    for accelerator in ("gpu", "hexagon", "nnapi:dsp", "delegate:/data/x.so"):
        assert "--use_xnnpack=false" in flags(accelerator, 1)
    assert "--nnapi_accelerator_name=dsp" in flags("nnapi:dsp", 1)
