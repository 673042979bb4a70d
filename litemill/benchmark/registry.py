"""How each kind of target is opened."""

from __future__ import annotations

from litemill.benchmark.adb import AdbDevice
from litemill.benchmark.litert import LiteRtTarget
from litemill.benchmark.native import NativeTarget
from litemill.benchmark.remote import Remote
from litemill.benchmark.remote_python import RemotePython
from litemill.benchmark.session import Target
from litemill.benchmark.ssh import SshDevice
from litemill.config.target_specs import AdbSpec, RemoteSpec, SshSpec
from litemill.config.targets import TargetSpec, kind_of
from litemill.plugins import load


def open_target(spec: TargetSpec) -> Target:
    """The target of a spec. Nothing is reached yet.

    Raises:
        ConfigError: What measures on it cannot be imported.
    """
    opened: Target = load(kind_of(spec).opens)(spec)
    return opened


def open_ssh(spec: SshSpec) -> Target:
    """A device behind OpenSSH."""
    return _by_runner(spec, SshDevice(spec))


def open_adb(spec: AdbSpec) -> Target:
    """An Android device."""
    return _by_runner(spec, AdbDevice(spec.device))


def _by_runner(spec: RemoteSpec, remote: Remote) -> Target:
    """A device with a shell, by the runner that the spec asks for."""
    if spec.runs_by == "benchmark_model":
        return NativeTarget(spec, remote)
    return LiteRtTarget(spec, RemotePython(spec, remote))
