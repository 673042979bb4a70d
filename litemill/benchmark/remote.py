"""A device with a shell: what both adb and ssh give, and what every runner on them needs."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

from litemill.errors import DeviceError, StepFailed

ANSWER_SECONDS = 30.0
BUSY = 75
"""Exit code of a program that waited in vain for the device's lock (EX_TEMPFAIL)."""
ENDED = frozenset({124, 137, 143})
"""Exit codes of `timeout` after it ended a program, by the signal sent and the device's own tools."""
PROPERTIES = {
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "abi": "ro.product.cpu.abi",
    "android": "ro.build.version.release",
    "gpu": "ro.hardware.egl",
}
"""What Android tells of itself."""
FACTS = {
    "machine": "uname -m",
    "cpu": "grep -m 1 -E '^(model name|Hardware|Model)' /proc/cpuinfo | cut -d : -f 2",
    "cores": "nproc",
    "os": "uname -sr",
}
CPU = "/sys/devices/system/cpu/cpu0"
STATE = {
    "load": "cut -d ' ' -f 1-3 /proc/loadavg",
    "governor": f"cat {CPU}/cpufreq/scaling_governor",
    "clock_khz": f"cat {CPU}/cpufreq/scaling_cur_freq",
    "throttle_count": f"cat {CPU}/thermal_throttle/core_throttle_count",
    "hottest_millicelsius": "cat /sys/class/thermal/thermal_zone*/temp | sort -n | tail -n 1",
}
"""Questions to a device's shell."""


class Remote(Protocol):
    """A device, open for a session in a folder of its own there: what is pushed is gone when it ends."""

    device: str
    folder: str
    lock: str
    """A file on the device that all who measure on it share."""

    def __enter__(self) -> Remote:
        """Connect.

        Raises:
            DeviceError: The device cannot be reached, or refuses.
        """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clean up on the device and disconnect."""

    def shell(self, command: str, seconds: float = ANSWER_SECONDS) -> tuple[int, str]:
        """Run a command in the device's shell; its exit code and all it wrote.

        Raises:
            DeviceError: The device did not answer, or was lost before the command ended.
        """

    def check(self, command: str, seconds: float = ANSWER_SECONDS) -> str:
        """Run a command of ours that should not fail.

        Raises:
            DeviceError: It did.
        """

    def push(self, file: Path, name: str, *, executable: bool = False) -> str:
        """Push a file into the session's folder unless this session did; its path on the device.

        Raises:
            DeviceError: It did not get there.
        """

    def pull(self, name: str, into: Path) -> Path:
        """Fetch a file of the session's folder.

        Raises:
            DeviceError: It is not there.
        """


def run_locked(remote: Remote, words: list[str], seconds: float, wait: float) -> tuple[int, str]:
    """Run a program in the session's folder, alone on the device, which ends it by itself when it hangs.

    That is done by the device's own `flock` and `timeout`. Where it has none, the lock and the limit here remain.

    Args:
        remote: The device.
        words: The program and its arguments.
        seconds: What it may take.
        wait: Seconds to wait for another session, from whichever host, to let the device go.

    Returns:
        Exit code and all that the program wrote.

    Raises:
        DeviceError: The device was lost, or another session held it for all that time.
        StepFailed: The device ended the program.
    """
    lock = shlex.quote(remote.lock)
    turn = f"i=0; until flock -n 9; do i=$((i+1)); [ $i -le {int(wait)} ] || exit {BUSY}; sleep 1; done"
    hold = f"[ -e {lock} ] || : >>{lock}; exec 9<{lock}; {turn}"  # read only: it may be another user's
    limit = f"limit='timeout -s KILL {max(1, round(seconds))}'"
    start = time.monotonic()
    code, output = remote.shell(
        f"( cd {remote.folder} || exit 1; if command -v flock >/dev/null; then {hold}; fi; "
        f"limit=; if command -v timeout >/dev/null; then {limit}; fi; $limit {shlex.join(words)} )",
        seconds + wait + ANSWER_SECONDS,
    )
    if code == BUSY:
        raise DeviceError(f"it is held by another session (its lock: {remote.lock})", where=remote.device)
    if code in ENDED and time.monotonic() - start >= seconds:
        raise StepFailed(f"it took more than {seconds:g} s and was ended on the device")
    return code, output


def shell_facts(remote: Remote) -> dict[str, str]:
    """What a device is, as its shell tells."""
    android = {name: f"getprop {key}" for name, key in PROPERTIES.items()}
    return _message(remote, android | FACTS)


def shell_state(remote: Remote) -> dict[str, str]:
    """What may disturb a measurement, where it is readable: load, governor, clock, temperature, throttling."""
    return _message(remote, STATE)


def _message(remote: Remote, questions: dict[str, str]) -> dict[str, str]:
    """Answers of a device's shell by name; what it cannot answer is left out."""
    asked = "; ".join(f"echo {name}=$({{ {command}; }} 2>/dev/null)" for name, command in questions.items())
    message = dict(line.split("=", 1) for line in remote.check(asked).splitlines() if "=" in line)
    return {name: value.strip() for name, value in message.items() if value.strip()}
