"""The `ssh://` transport: the user's own OpenSSH client, so that their config, agent and jump hosts keep working."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from litemill.benchmark.launch import DEVICE, GRACE, death, last_words
from litemill.benchmark.python_runner import Entry, RunnerOptions
from litemill.errors import DeviceError, StepFailed
from litemill.targets import TargetSpec

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15
TRANSFER_SECONDS = 300
LOST = 255
"""Exit code of the client itself; a remote program's own is passed on."""
TIMED_OUT = 128 + 14
"""A shell's exit code for a program ended by SIGALRM, which the runner sets on itself."""
LOCK = "/tmp/litemill-device.lock"  # noqa: S108 - on the device, shared by its users on purpose

PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""Names that neither a shell nor sftp reads as anything else."""

REASONS = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the known one", "Check why, then ssh-keygen -R"),
    ("Host key verification failed", "its host key is not known", "Connect once with ssh and accept the key"),
    ("Permission denied", "it does not let this user in", "Set up a key or an agent: passwords are never asked for"),
    ("Could not resolve hostname", "its name does not resolve", ""),
    ("Connection refused", "nothing listens on its ssh port", ""),
    ("timed out", "it does not answer", ""),
    ("No route to host", "there is no route to it", ""),
)
"""What ssh says, what that means, what to do."""


class SshTransport:
    """A device behind OpenSSH.

    One connection is kept open (ControlMaster) and everything goes through it. Each session works in a new folder on
    the device, where files are named by their sha256: no name needs quoting and no stale model can be run. The folder
    is removed at the end.
    """

    local = False

    def __init__(self, spec: TargetSpec) -> None:
        address = urlsplit(spec.device)
        self.spec, self.device = spec, spec.device
        self._host = address.hostname or ""
        self._options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        self._options += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if spec.ssh_config:
            self._options += ["-F", spec.ssh_config]
        if address.port:
            self._options += ["-o", f"Port={address.port}"]
        if address.username:
            self._options += ["-o", f"User={address.username}"]
        self._pushed: set[str] = set()
        self._remote = ""
        self._local: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> SshTransport:
        if shutil.which("ssh") is None or shutil.which("sftp") is None:
            raise DeviceError("no OpenSSH client on this machine", where=self.device, fix="Install openssh-client")
        # the socket's path may have 104 characters at most: not under a long TMPDIR
        self._local = tempfile.TemporaryDirectory(prefix="lm-ssh-", dir="/tmp")
        self._options += [
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={self._local.name}/c",
            "-o",
            "ControlPersist=60",
        ]
        try:
            self._remote = self._shell(
                'umask 077 && mktemp -d "${TMPDIR:-/tmp}/litemill-XXXXXX"', CONNECT_SECONDS * 2
            ).strip()
            self._sftp([f"mkdir {self._remote}/litemill_runner"])
            for module in sorted((DEVICE / "litemill_runner").glob("*.py")):
                self._push(module, f"litemill_runner/{module.name}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._remote:
                self._shell(f"rm -rf {shlex.quote(self._remote)}", CONNECT_SECONDS)
        except DeviceError as left:
            log.warning("%s: %s is left behind: %s", self.device, self._remote, left)
        subprocess.run(["ssh", *self._options, "-O", "exit", self._host], capture_output=True, check=False)  # noqa: S607
        if self._local:
            self._local.cleanup()
        self._remote, self._pushed, self._local = "", set(), None

    def run(
        self, mode: str, entries: list[Entry], options: RunnerOptions, out: Path, time_limit: float
    ) -> dict[str, Any]:
        """See `Transport.run`."""
        out.mkdir(parents=True)
        remote = f"{self._remote}/{out.name}"
        models = [
            Entry(
                entry.key,
                self._once(Path(entry.path), f"{entry.key}.tflite"),
                self._once(Path(entry.inputs), f"{entry.key}.npy"),
            )
            for entry in entries
        ]
        job = asdict(options) | {"mode": mode, "models": [asdict(model) for model in models], "out": remote}
        job |= {"time_limit": time_limit, "lock": LOCK, "lock_seconds": self.spec.timeout}
        (out / "job.json").write_text(json.dumps(job))
        self._push(out / "job.json", f"{out.name}.json")
        program = f"cd {shlex.quote(self._remote)} && OMP_NUM_THREADS=1 {shlex.quote(self.spec.python)}"
        # "exit $?": the shell stays, and turns a death by signal into an exit code that ssh passes on
        done = self._ssh(
            f"{program} -m litemill_runner {out.name}.json; exit $?", time_limit + self.spec.timeout + GRACE
        )
        self._judge(done, time_limit)
        self._sftp([f"get {remote}/* {self._local_folder}/"])
        for file in self._local_folder.glob("*.json"):
            file.replace(out / file.name)
        for file in self._local_folder.glob("*.npy"):
            file.replace(out / file.name)
        result: dict[str, Any] = json.loads((out / "result.json").read_text())
        return result

    def _judge(self, done: subprocess.CompletedProcess[bytes], time_limit: float) -> None:
        """Tell a device that cannot run anything from a model that it cannot run."""
        if done.returncode == 0:
            return
        said = done.stderr.decode(errors="replace")
        if done.returncode == LOST:
            raise self._error(said)
        if done.returncode == TIMED_OUT:
            raise StepFailed(f"the runner took more than {time_limit:g} s and was ended")
        if done.returncode == 127:
            raise DeviceError(f"there is no {self.spec.python!r} on it", where=self.device, fix="Set the option python")
        if "ModuleNotFoundError" in said or "is held by another session" in said:
            last = last_words(said).partition(": ")[2]
            fix = "The device needs numpy and ai-edge-litert" if "No module" in last else ""
            raise DeviceError(last, where=self.device, fix=fix)
        if "No space left on device" in said:
            raise DeviceError("its disk is full", where=self.device)
        code = done.returncode
        raise StepFailed(death(128 - code if code > 128 else code, done.stderr))

    def _once(self, file: Path, name: str) -> str:
        """Push a file unless this session did; its path on the device."""
        if name not in self._pushed:
            self._push(file, name)
            self._pushed.add(name)
        return f"{self._remote}/{name}"

    def _push(self, file: Path, name: str) -> None:
        """Push a file, by way of a name here that sftp can neither expand nor misread."""
        link = self._local_folder / "push"
        link.symlink_to(file.resolve())
        try:
            self._sftp([f"put {link} {self._remote}/{name}"])
        finally:
            link.unlink()

    @property
    def _local_folder(self) -> Path:
        if self._local is None:
            raise RuntimeError("used outside its with block")
        return Path(self._local.name)

    def _sftp(self, commands: list[str]) -> None:
        """Run a batch: it stops at the first command that fails."""
        try:
            done = subprocess.run(
                ["sftp", "-q", *self._options, "-b", "-", self._host],  # noqa: S607
                input="\n".join(commands).encode(),
                capture_output=True,
                timeout=TRANSFER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"a transfer took more than {TRANSFER_SECONDS} s", where=self.device) from None
        if done.returncode == 0:
            return
        said = done.stderr.decode(errors="replace")
        if done.returncode == LOST and "Failure" not in said:
            raise self._error(said)
        # sftp calls a full disk a plain "Failure"
        free = self._shell(f"df -Pk {shlex.quote(self._remote)} | tail -n 1", CONNECT_SECONDS).split()
        if len(free) > 3 and free[3].isdigit() and int(free[3]) < 64:
            raise DeviceError(f"its disk is full ({free[3]} KiB left on {free[-1]})", where=self.device)
        raise DeviceError(f"a transfer failed: {last_words(said)}", where=self.device)

    def _shell(self, command: str, seconds: float) -> str:
        """Run a command of ours in the device's shell.

        Raises:
            DeviceError: The connection or the command failed.
        """
        done = self._ssh(command, seconds)
        said = done.stderr.decode(errors="replace")
        if done.returncode == LOST:
            raise self._error(said)
        if done.returncode != 0:
            reason = (
                "its disk is full" if "No space left" in said else f"{last_words(said)} (exit code {done.returncode})"
            )
            raise DeviceError(reason, where=self.device)
        return done.stdout.decode(errors="replace")

    def _ssh(self, command: str, seconds: float) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ["ssh", *self._options, self._host, command],  # noqa: S607
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"it did not answer within {seconds:g} s", where=self.device) from None

    def _error(self, said: str) -> DeviceError:
        """Why the connection does not stand."""
        for sign, what, fix in REASONS:
            if sign in said:
                return DeviceError(what, where=self.device, fix=fix)
        return DeviceError(f"the connection was lost: {last_words(said)}", where=self.device)
