"""The `adb://` target: the real adb client against a device on loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from litemill.benchmark.adb import AdbDevice, find_adb
from litemill.benchmark.registry import open_target
from litemill.benchmark.remote import shell_facts
from litemill.benchmark.session import Subject
from litemill.config.targets import parse_target
from litemill.errors import DeviceError
from litemill.evidence.outcome import Measurement
from tests.loopback_adbd import LoopbackAdbd
from tests.programs import benchmark_model as binary


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


def measure(
    device: LoopbackAdbd, subjects: list[Subject], samples: NDArray[np.float32], model: Path, **more: Any
) -> list[Measurement]:
    given = {"benchmark_model": str(model), "seconds": 0.1}
    spec = {"name": "phone", "device": f"adb://{device.serial}", **given, **more}
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
    assert one.ratio_to_float32 and one.details["rounds"] == 8 and one.runs >= 8 * 50
    assert one.device["machine"] and one.device["cores"] and one.device["os"].startswith("Linux ")
    assert one.device["state"]["before"]["load"] and one.device["state"]["after"]["load"]
    assert [path.name for path in device.path("/data/local/tmp").iterdir()] == ["litemill-device.lock"]


@pytest.mark.e2e
def test_where_the_device_has_a_python_the_runner_is_ours(
    device: LoopbackAdbd, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    """Samples of its own, so percentiles; parity from the very models that were timed; init in a fresh process."""
    spec = {"name": "board", "device": f"adb://{device.serial}", "runner": "python", "python": sys.executable}
    target = open_target(parse_target(spec | {"seconds": 0.1}))
    measured = target.measure([subjects["float32"], subjects["int8"]], samples)
    one = measured[subjects["int8"].sha256]
    assert (one.status, one.reason, one.kind) == ("ok", "", "measured")
    assert set(one.latency_ms) >= {"p50", "p90"} and one.ratio_to_float32 and one.peak_memory_bytes
    assert one.parity and one.parity.ok and one.device["ai-edge-litert"]
    assert [path.name for path in device.path("/data/local/tmp").iterdir()] == ["litemill-device.lock"]
    (failed,) = (
        open_target(parse_target(spec | {"accelerator": "npu:nobody"})).measure([subjects["int8"]], samples).values()
    )
    assert "no dispatch library for 'nobody'" in failed.reason
    with pytest.raises(DeviceError, match=r"there is no '/no/python' on it\. Set the option python"):
        open_target(parse_target(spec | {"python": "/no/python"})).facts()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("behaviour", "more", "answer"),
    [
        ("crash", {}, "benchmark_model ended with exit code 7: Failed to allocate tensors!"),
        ("wrong", {}, "outputs differ by "),
        ("no-output", {}, "this benchmark_model writes no outputs (--output_filepath)"),
        ("partial", {"accelerator": "gpu"}, "gpu does not take all of its ops"),
        ("none", {"accelerator": "nnapi:edgetpu"}, "nnapi:edgetpu took none of its ops, not all"),
        ("hang", {"timeout": 2}, "it took more than 2 s and was ended on the device"),
    ],
)
def test_what_a_runner_does_wrong_is_a_failed_measurement(
    behaviour: str,
    more: dict[str, Any],
    answer: str,
    device: LoopbackAdbd,
    subjects: dict[str, Subject],
    samples: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    (one,) = measure(device, [subjects["int8"]], samples, binary(tmp_path, behaviour), **more)
    assert one.status == "failed"
    assert one.reason.startswith(answer)


@pytest.mark.e2e
@pytest.mark.parametrize(("behaviour", "answer"), [("line-only", "p50"), ("old", "mean")])
def test_averages_are_not_called_medians(
    behaviour: str,
    answer: str,
    device: LoopbackAdbd,
    subjects: dict[str, Subject],
    samples: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    """A binary that writes no result file prints a median if it is new, and only averages if it is old."""
    (one,) = measure(device, [subjects["int8"]], samples, binary(tmp_path, behaviour), accelerator="cpu")
    assert (one.status, set(one.latency_ms), one.peak_memory_bytes) == ("ok", {answer}, None)
    assert one.runs >= 8 * 50


@pytest.mark.e2e
def test_a_gpu_that_takes_all_is_measured_as_one(
    device: LoopbackAdbd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    (one,) = measure(device, [subjects["float32"]], samples, binary(tmp_path), accelerator="gpu")
    assert (one.status, one.actual_accelerator, one.delegated_fraction) == ("ok", "gpu", 1.0)


@pytest.mark.e2e
def test_a_binary_that_is_on_the_device_is_not_pushed(
    device: LoopbackAdbd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    there = binary(tmp_path)
    there.chmod(0o755)
    (one,) = measure(device, [subjects["int8"]], samples, Path(f"device:{there}"))
    assert one.status == "ok"
    with pytest.raises(DeviceError, match="there is no program '/no/such' on it"):
        measure(device, [subjects["int8"]], samples, Path("device:/no/such"))


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
        assert shell_facts(opened)["cores"].isdigit()


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


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("greets", "answer"),
    [
        ("mute", "it is offline"),
        ("unauthorised", "it has not allowed this computer to debug it. Unlock it and accept the key on its screen"),
    ],
)
def test_a_device_that_does_not_let_us_in_is_told_from_one_that_is_gone(
    greets: Literal["mute", "unauthorised"], answer: str, tmp_path: Path
) -> None:
    adbd = LoopbackAdbd(tmp_path / "closed", greets=greets)
    with pytest.raises(DeviceError) as caught:
        AdbDevice(f"adb://{adbd.serial}").__enter__()
    assert str(caught.value).startswith(f"adb://{adbd.serial}: {answer}")
    adbd.stop()


def test_a_machine_without_adb_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"^adb://X: there is no adb on this machine\. Install litemill\[devices\]$"):
        find_adb("adb://X")


@pytest.mark.e2e
def test_a_model_of_the_same_size_is_not_taken_for_the_one_before(
    device: LoopbackAdbd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """Tools that compare sizes skip the push and run the old model; parity would tell the two apart."""
    other = tmp_path / "other.tflite"
    other.write_bytes(negated(subjects["float32"].path.read_bytes()))
    counterpart = Subject(**(vars(subjects["float32"]) | {"path": other, "sha256": "c" * 64}))
    for subject in (subjects["float32"], counterpart):
        (one,) = measure(device, [subject], samples, binary(tmp_path))
        assert (one.status, one.reason) == ("ok", "")


def negated(model: bytes) -> bytes:
    """The same file but for its largest float constant, which is turned around."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    floats = [tensor for tensor in tree.subgraphs[0].tensors if tensor.type == schema.TensorType.FLOAT32]
    constants = [tree.buffers[tensor.buffer].data for tensor in floats]
    largest = max((data.tobytes() for data in constants if data is not None), key=len)
    turned = (-np.frombuffer(largest, np.float32)).tobytes()
    assert model.count(largest) == 1
    return model.replace(largest, turned)
