"""A device behind ssh: the user's own OpenSSH client, so that their config, agent and jump hosts keep working."""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from litemill.benchmark.launch import last_line
from litemill.benchmark.remote import ANSWER_SECONDS
from litemill.config.target_specs import SshSpec
from litemill.errors import DeviceError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15
TRANSFER_SECONDS = 300
LOST = 255
"""Exit code of the client itself; a remote program's own is passed on."""
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


class SshDevice:
    """A device behind OpenSSH, open for a session (`Remote`).

    One connection is kept open (ControlMaster) and everything goes through it. Each session works in a new folder on
    the device, which is removed at the end.
    """

    lock = LOCK

    def __init__(self, spec: SshSpec) -> None:
        address = urlsplit(spec.device)
        self.spec, self.device = spec, spec.device
        self._host = address.hostname or ""
        self._asked = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        self._asked += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if spec.ssh_config:
            self._asked += ["-F", spec.ssh_config]
        if address.port:
            self._asked += ["-o", f"Port={address.port}"]
        if address.username:
            self._asked += ["-o", f"User={address.username}"]
        self._options = self._asked
        self._pushed: set[str] = set()
        self.folder = ""
        self._local: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> SshDevice:
        if shutil.which("ssh") is None or shutil.which("sftp") is None:
            raise DeviceError("no OpenSSH client on this machine", where=self.device, fix="Install openssh-client")
        # the socket's path may have 104 characters at most: not under a long TMPDIR
        self._local = tempfile.TemporaryDirectory(prefix="lm-ssh-", dir="/tmp")
        shared = ("ControlMaster=auto", f"ControlPath={self._local.name}/c", "ControlPersist=60")
        self._options = [*self._asked, *(word for option in shared for word in ("-o", option))]
        try:
            self.folder = self._make_folder()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.folder:
                self.check(f"rm -rf {self.folder}")
        except DeviceError as left:
            log.warning("%s: %s is left behind: %s", self.device, self.folder, left)
        subprocess.run(["ssh", *self._options, "-O", "exit", self._host], capture_output=True, check=False)  # noqa: S607
        if self._local:
            self._local.cleanup()
        self.folder, self._pushed, self._local = "", set(), None

    def _make_folder(self) -> str:
        """A new folder under the device's TMPDIR; its name must need no quoting, there or in sftp."""
        made = self.check('umask 077 && mktemp -d "${TMPDIR:-/tmp}/litemill-XXXXXX"', CONNECT_SECONDS * 2).strip()
        if not PLAIN.fullmatch(made):
            self.check(f"rmdir {shlex.quote(made)}")
            raise DeviceError(f"its temporary folder has a name that sftp misreads ({made})", where=self.device)
        return made

    def shell(self, command: str, seconds: float = ANSWER_SECONDS) -> tuple[int, str]:
        """See `Remote.shell`."""
        # "exit $?": the shell stays, and turns a death by signal into an exit code that ssh passes on
        script = f"{{ {command} ; }} </dev/null 2>&1; exit $?"
        done = self._ssh(f"exec sh -c {shlex.quote(script)}", seconds)  # the user's own shell may be any
        if done.returncode == LOST:
            raise self._error(done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace"))
        return done.returncode, done.stdout.decode(errors="replace").removesuffix("\n")

    def check(self, command: str, seconds: float = ANSWER_SECONDS) -> str:
        """See `Remote.check`."""
        code, output = self.shell(command, seconds)
        if code != 0:
            full = "No space left" in output
            raise DeviceError(
                "its disk is full" if full else f"{last_line(output)} (exit code {code})", where=self.device
            )
        return output

    def push(self, file: Path, name: str, *, executable: bool = False) -> str:
        """See `Remote.push`."""
        if name not in self._pushed:
            self._push(file, name)
            if executable:
                self.check(f"chmod 755 {self.folder}/{name}")
            self._pushed.add(name)
        return f"{self.folder}/{name}"

    def pull(self, name: str, into: Path) -> Path:
        """See `Remote.pull`."""
        fetched = self._local_folder / "pull"
        self._sftp([f"get {self.folder}/{name} {fetched}"])
        shutil.move(fetched, into)
        return into

    def _push(self, file: Path, name: str) -> None:
        """Push a file, by way of a name here that sftp can neither expand nor misread."""
        link = self._local_folder / "push"
        link.symlink_to(file.resolve())
        try:
            self._sftp([f"put {link} {self.folder}/{name}"])
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
        output = done.stderr.decode(errors="replace")
        if done.returncode == LOST and "Failure" not in output:
            raise self._error(output)
        # sftp calls a full disk a plain "Failure"
        free = self.check(f"df -Pk {self.folder} | tail -n 1").split()
        if len(free) > 3 and free[3].isdigit() and int(free[3]) < 64:
            raise DeviceError(f"its disk is full ({free[3]} KiB left on {free[-1]})", where=self.device)
        raise DeviceError(f"a transfer failed: {last_line(output)}", where=self.device)

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

    def _error(self, output: str) -> DeviceError:
        """Why the connection does not stand."""
        for sign, what, fix in REASONS:
            if sign in output:
                return DeviceError(what, where=self.device, fix=fix)
        return DeviceError(f"the connection was lost: {last_line(output)}", where=self.device)
