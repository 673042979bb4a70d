"""How each kind of target is opened."""

from __future__ import annotations

from collections.abc import Callable

from litemill.benchmark.android import AndroidTarget
from litemill.benchmark.edgetpu import EdgeTpuTarget
from litemill.benchmark.ethos import EthosTarget
from litemill.benchmark.litert import LiteRtTarget
from litemill.benchmark.session import Target
from litemill.benchmark.ssh import SshTransport
from litemill.benchmark.tflm import TflmTarget
from litemill.targets import TargetSpec

TARGETS: dict[str, Callable[[TargetSpec], Target]] = {
    "host": LiteRtTarget,
    "ssh": lambda spec: LiteRtTarget(spec, SshTransport(spec)),
    "adb": AndroidTarget,
    "tflm": TflmTarget,
    "ethos": EthosTarget,
    "edgetpu": EdgeTpuTarget,
}
"""By kind; `ethos` is all of `ethos-u…`."""


def open_target(spec: TargetSpec) -> Target:
    """The target of a spec. Nothing is reached yet."""
    return TARGETS[spec.kind.partition("-")[0]](spec)
