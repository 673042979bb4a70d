"""How each kind of target is opened."""

from __future__ import annotations

from collections.abc import Callable

from litemill.benchmark.adb import AdbDevice
from litemill.benchmark.edgetpu import EdgeTpuTarget
from litemill.benchmark.ethos import EthosTarget
from litemill.benchmark.litert import LiteRtTarget
from litemill.benchmark.native import NativeTarget
from litemill.benchmark.remote import Remote
from litemill.benchmark.remote_python import RemotePython
from litemill.benchmark.session import Target
from litemill.benchmark.ssh import SshDevice
from litemill.benchmark.tflm import TflmTarget
from litemill.config.targets import TargetSpec


def remote_target(spec: TargetSpec, remote: Remote) -> Target:
    """A device with a shell, by the runner that the spec asks for."""
    if spec.runs_by == "benchmark_model":
        return NativeTarget(spec, remote)
    return LiteRtTarget(spec, RemotePython(spec, remote))


TARGETS: dict[str, Callable[[TargetSpec], Target]] = {
    "host": LiteRtTarget,
    "ssh": lambda spec: remote_target(spec, SshDevice(spec)),
    "adb": lambda spec: remote_target(spec, AdbDevice(spec.device)),
    "tflm": TflmTarget,
    "ethos": EthosTarget,
    "edgetpu": EdgeTpuTarget,
}
"""By kind; `ethos` is all of `ethos-u…`."""


def open_target(spec: TargetSpec) -> Target:
    """The target of a spec. Nothing is reached yet."""
    return TARGETS[spec.kind.partition("-")[0]](spec)
