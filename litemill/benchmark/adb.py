"""A device behind adb: Google's client as a subprocess, its quirks kept apart from the device's answers."""

from __future__ import annotations

import importlib.util
import logging
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from litemill.benchmark.remote import ANSWER_SECONDS
from litemill.errors import DeviceError

log = logging.getLogger(__name__)

TRANSFER_SECONDS = 300.0
ROOT = "/data/local/tmp"
"""The folder of an Android device that a shell may write to and execute from."""

STATES = (
    ("unauthorized", "it has not allowed this computer to debug it", "Unlock it and accept the key on its screen"),
    ("offline", "it is offline", "Reconnect it, or `adb connect` again"),
    ("not found", "adb does not see it", "Compare with `adb devices`"),
    ("no devices", "adb does not see it", "Compare with `adb devices`"),
    ("failed to connect", "adb cannot connect to it", "Is its address right, and wireless debugging on?"),
    ("cannot connect", "adb cannot connect to it", "Is its address right, and wireless debugging on?"),
)
"""What adb says, what that means, what to do."""


class AdbDevice:
    """A device by its serial, open for a session in a new folder there (`Remote`)."""

    lock = f"{ROOT}/litemill-device.lock"

    def __init__(self, device: str) -> None:
        self.device = device
        self.serial = device.partition("://")[2]
        self.folder = ""
        self._pushed: set[str] = set()

    def __enter__(self) -> AdbDevice:
        self._connect()
        folder = f"{ROOT}/litemill-{secrets.token_hex(4)}"
        self.check(f"mkdir -p {folder}")
        self.folder = folder
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.folder:
            return
        try:
            self.check(f"rm -rf {self.folder}")
        except DeviceError as left:
            log.warning("%s: %s is left behind: %s", self.device, self.folder, left)
        self.folder, self._pushed = "", set()

    def shell(self, command: str, seconds: float = ANSWER_SECONDS) -> tuple[int, str]:
        """Run a command in the device's shell.

        Returns:
            Its exit code and all it wrote. The code is read from a mark behind the output: a device without shell_v2
            makes adb end with 0 whatever happened.

        Raises:
            DeviceError: The device did not answer, or was lost before the command ended.
        """
        mark = secrets.token_hex(8)
        done = self._adb(["shell", f"{{ {command} ; }} </dev/null 2>&1; echo {mark}:$?"], seconds)
        output, _, code = done.stdout.replace("\r\n", "\n").rpartition(f"{mark}:")
        if not code.strip().isdigit():
            raise self._error(done.stderr or done.stdout, "it was lost before the command ended")
        return int(code), output.removesuffix("\n")

    def check(self, command: str, seconds: float = ANSWER_SECONDS) -> str:
        """Run a command of ours that should not fail.

        Raises:
            DeviceError: It did.
        """
        code, output = self.shell(command, seconds)
        if code != 0:
            raise self._error(output, f"{output.strip() or command} (exit code {code})")
        return output

    def push(self, file: Path, name: str, *, executable: bool = False) -> str:
        """Push a file unless this session did; its path on the device.

        Raises:
            DeviceError: It did not get there.
        """
        target = f"{self.folder}/{name}"
        if name in self._pushed:
            return target
        done = self._adb(["push", str(file), target], TRANSFER_SECONDS)
        if done.returncode != 0:
            raise self._error(done.stderr + done.stdout, "a push failed")
        if executable:
            self.check(f"chmod 755 {target}")
        self._pushed.add(name)
        return target

    def pull(self, name: str, into: Path) -> Path:
        """Fetch a file of the session's folder.

        Raises:
            DeviceError: It is not there.
        """
        done = self._adb(["pull", f"{self.folder}/{name}", str(into)], TRANSFER_SECONDS)
        if done.returncode != 0:
            raise self._error(done.stderr + done.stdout, f"{name} could not be fetched")
        return into

    def _connect(self) -> None:
        """Make sure the device answers; one reached over the network is connected (anew, after a restart)."""
        output = self._state()
        if output != "device" and re.search(r":\d+$", self.serial):
            self._adb(["disconnect", self.serial], ANSWER_SECONDS, select=False)
            tried = self._adb(["connect", self.serial], ANSWER_SECONDS, select=False)
            output = self._state()
            output = output if output == "device" else f"{output} {tried.stdout} {tried.stderr}"
        if output != "device":
            raise self._error(output, f"its state is {output.strip()!r}")

    def _state(self) -> str:
        done = self._adb(["get-state"], ANSWER_SECONDS)
        return done.stdout.strip() if done.returncode == 0 else done.stderr.strip()

    def _adb(self, words: list[str], seconds: float, *, select: bool = True) -> subprocess.CompletedProcess[str]:
        chosen = ["-s", self.serial] if select else []
        try:
            return subprocess.run(
                [find_adb(self.device), *chosen, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"it did not answer within {seconds:g} s", where=self.device) from None

    def _error(self, output: str, otherwise: str) -> DeviceError:
        if "No space left on device" in output:
            return DeviceError("its disk is full", where=self.device, fix=f"Free {ROOT}")
        for sign, what, fix in STATES:
            if sign in output:
                return DeviceError(what, where=self.device, fix=fix)
        return DeviceError(otherwise, where=self.device)


def find_adb(where: str) -> str:
    """The adb client: the user's own, else the one that comes with the adbutils wheel.

    Raises:
        DeviceError: There is none.
    """
    own = shutil.which("adb")
    if own:
        return own
    found = importlib.util.find_spec("adbutils")
    bundled = Path(found.origin).parent / "binaries" / "adb" if found and found.origin else None
    if bundled is None or not bundled.is_file():
        raise DeviceError("there is no adb on this machine", where=where, fix="Install litemill[devices]")
    return str(bundled)
