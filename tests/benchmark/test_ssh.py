"""The `ssh://` target against a real OpenSSH server on loopback."""

import fcntl
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.benchmark import benchmark_bundle
from litemill.benchmark.litert import LiteRtTarget
from litemill.benchmark.python_runner import RunnerOptions, lay_out
from litemill.benchmark.registry import open_target
from litemill.benchmark.remote_python import RemotePython
from litemill.benchmark.session import Subject
from litemill.benchmark.ssh import LOCK, SshDevice
from litemill.config.targets import parse_target, tells
from litemill.errors import DeviceError, StepFailed
from litemill.evidence.outcome import Measurement
from tests.loopback_sshd import LoopbackSshd
from tests.programs import benchmark_model

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "tmp").mkdir()
    server = LoopbackSshd(folder, {"TMPDIR": str(folder / "tmp")})
    yield server
    server.stop()


def target(sshd: LoopbackSshd, **more: Any) -> dict[str, Any]:
    given = {"name": "pi", "device": "ssh://device", "python": sys.executable, "ssh_config": str(sshd.config)}
    return given | {"seconds": 0.2, "timeout": 60} | more


def left_behind(sshd: LoopbackSshd) -> list[str]:
    return [path.name for path in (sshd.folder / "tmp").iterdir()]


def runner(sshd: LoopbackSshd) -> RemotePython:
    spec = parse_target(target(sshd))
    return RemotePython(spec, SshDevice(spec))


def measure(spec: dict[str, Any], subjects: list[Subject], samples: NDArray[np.float32]) -> list[Measurement]:
    measured = open_target(parse_target(spec)).measure(subjects, samples)
    return [measured[subject.sha256] for subject in subjects]


def test_a_device_is_measured_checked_and_left_clean(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """Also with a file whose name no shell and no sftp would take unquoted."""
    odd = tmp_path / 'it\'s "odd" [1]* $(touch pwned) ; ü.tflite'
    shutil.copy(subjects["int8"].path, odd)
    int8 = Subject(**(vars(subjects["int8"]) | {"path": odd}))
    baseline, one = measure(target(sshd), [subjects["float32"], int8], samples)
    assert (baseline.status, one.status, one.reason, one.kind) == ("ok", "ok", "", "measured")
    assert one.parity and one.parity.ok and one.parity.reference == "LiteRT with XNNPACK"
    assert one.ratio_to_float32 and one.latency_ms["p50"] > 0 and one.init_ms and one.peak_memory_bytes
    assert one.device["cores"] >= 1 and one.device["ai-edge-litert"]
    assert left_behind(sshd) == []


def test_benchmark_model_runs_there_as_it_does_behind_adb(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    spec = target(sshd, runner="benchmark_model", benchmark_model=str(benchmark_model(tmp_path)), seconds=0.1)
    del spec["python"]
    _, one = measure(spec, [subjects["float32"], subjects["int8"]], samples)
    assert (one.status, one.reason, one.kind, set(one.latency_ms)) == ("ok", "", "measured", {"p50"})
    assert one.parity and one.parity.ok and one.ratio_to_float32
    assert one.peak_memory_bytes == int(12.5 * (1 << 20)) and one.runs >= 8 * 50
    assert one.device["runner"] == "benchmark_model" and one.device["cores"]
    (refused,) = measure(spec | {"accelerator": "gpu", "benchmark_model": str(benchmark_model(tmp_path, "partial"))},
                         [subjects["int8"]], samples)  # fmt: skip
    assert (refused.status, refused.reason) == ("failed", "gpu does not take all of its ops")
    (hung,) = measure(spec | {"timeout": 2, "benchmark_model": str(benchmark_model(tmp_path, "hang"))},
                      [subjects["int8"]], samples)  # fmt: skip
    assert hung.reason == "it took more than 2 s and was ended on the device"
    assert left_behind(sshd) == []


def test_a_target_is_opened_again_after_a_session(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    opened = open_target(parse_target(target(sshd)))
    opened.facts()
    (one,) = opened.measure([subjects["int8"]], samples).values()
    assert one.status == "ok"
    assert left_behind(sshd) == []


def test_a_model_that_the_device_cannot_run_fails_alone(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 100)
    torn = Subject(**(vars(subjects["int8"]) | {"path": broken, "sha256": "b" * 64}))
    _, one, other = measure(target(sshd), [subjects["float32"], torn, subjects["int8"]], samples)
    assert (one.status, other.status) == ("failed", "ok")
    assert one.reason.startswith("the runner ")


def test_an_emulated_device_says_so(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    spec = target(sshd, emulated=True)
    (one,) = measure(spec, [subjects["float32"]], samples)
    assert one.kind == "emulated"
    assert not tells(parse_target(spec), "latency")


def test_facts_of_a_device(sshd: LoopbackSshd) -> None:
    facts = open_target(parse_target(target(sshd))).facts()
    assert facts["machine"] and facts["ai-edge-litert"]


@pytest.mark.parametrize(
    ("config", "more", "answer"),
    [
        ({"known": "other_key"}, {}, "its host key is not the known one. Check why, then ssh-keygen -R"),
        ({}, {}, "its host key is not known. Connect once with ssh and accept the key"),
        ({"known": "host_key", "identity": "other_key"}, {}, "it does not let this user in. Set up a key or an agent"),
        ({"known": "host_key"}, {"device": "ssh://device:1"}, "nothing listens on its ssh port"),
        ({"known": "host_key"}, {"device": "ssh://no-such-host.invalid"}, "its name does not resolve"),
        ({"known": "host_key"}, {"python": "/no/such/python"}, "there is no '/no/such/python' on it"),
        ({"known": "host_key"}, {"python": "/usr/bin/python3 -S"}, "there is no '/usr/bin/python3 -S' on it"),
    ],
)
def test_each_way_a_device_fails_has_its_error(
    config: dict[str, str], more: dict[str, str], answer: str, sshd: LoopbackSshd
) -> None:
    spec = target(sshd, ssh_config=str(sshd.client_config("case", **config)), **more)
    with pytest.raises(DeviceError) as caught:
        open_target(parse_target(spec)).facts()
    assert str(caught.value).startswith(f"{spec['device']}: {answer}")
    assert left_behind(sshd) == []


def test_a_device_without_the_runtime_is_told_what_it_needs(sshd: LoopbackSshd, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(DeviceError, match=r"No module named 'numpy'\. The device needs numpy and ai-edge-litert"):
        open_target(parse_target(target(sshd, python=str(bare)))).facts()


def test_a_connection_that_is_cut_is_an_error_not_a_hang(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    entry = lay_out(subjects["int8"], samples, tmp_path)
    with runner(sshd) as device:
        threading.Timer(3, sshd.cut).start()
        with pytest.raises(DeviceError, match="ssh://device: the connection was lost"):
            device.run("latency", [entry], RunnerOptions(warmup_seconds=1e9), tmp_path / "out", time_limit=8)
    assert left_behind(sshd) == []


def test_a_hang_on_the_device_ends_there(
    sshd: LoopbackSshd, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    entry = lay_out(subjects["int8"], samples, tmp_path)
    with runner(sshd) as device, pytest.raises(StepFailed, match="more than 2 s and was"):
        device.run("latency", [entry], RunnerOptions(warmup_seconds=1e9), tmp_path / "out", time_limit=2)
    assert left_behind(sshd) == []


def test_a_device_in_use_from_another_host_is_waited_for_and_then_told(sshd: LoopbackSshd) -> None:
    with Path(LOCK).open("w") as device_lock:
        fcntl.flock(device_lock, fcntl.LOCK_EX)
        with pytest.raises(DeviceError, match="ssh://device: it is held by another session"):
            open_target(parse_target(target(sshd, timeout=1))).facts()


def test_a_full_disk_is_told(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("full")
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    server = LoopbackSshd(folder, {"TMPDIR": str(small)})
    try:
        with pytest.raises(DeviceError, match="ssh://device: its disk is full"):
            measure(target(server), [subjects["float32"]], samples)
        assert list(small.iterdir()) == []
    finally:
        server.stop()
        subprocess.run(["umount", str(small)], check=True)


def test_the_other_targets_go_on_when_a_device_is_gone(
    sshd: LoopbackSshd, bundle: Path, baseline: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    spec = parse_target(target(sshd, device="ssh://device:1"))
    found = benchmark_bundle(spec, bundle, baseline, digits_dataset, tmp_path / "out")
    assert {one.status for one in found.values()} == {"failed"}
    assert {one.reason for one in found.values()} == {"ssh://device:1: nothing listens on its ssh port"}
    assert {one.target for one in found.values()} == {"pi"}


def test_a_broken_client_is_named(sshd: LoopbackSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match=r"no OpenSSH client on this machine\. Install openssh-client"):
        LiteRtTarget(parse_target(target(sshd)), runner(sshd)).facts()
