"""A real OpenSSH server on loopback, with its own port, keys and config: a device for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path


class LoopbackSshd:
    """Started on construction; `config` is a client config (for `ssh -F`) that names it `device`."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        for name in ("host_key", "user_key", "other_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        set_env = "".join(f"SetEnv {name}={value}\n" for name, value in (environment or {}).items())
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nAuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nMaxStartups 100\nSubsystem sftp internal-sftp\n{set_env}"
        )
        self.config = self.client_config("config", known="host_key")
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
        with (folder / "sshd.log").open("wb") as log:
            self._server = subprocess.Popen(
                ["/usr/sbin/sshd", "-f", str(folder / "sshd_config"), "-D", "-e"], stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait()

    def client_config(self, name: str, *, known: str = "", identity: str = "user_key") -> Path:
        """A config for `ssh -F`: `known` is the host key that the client believes in, if any."""
        hosts = self.folder / f"{name}.known_hosts"
        key = (self.folder / f"{known}.pub").read_text() if known else ""
        hosts.write_text(f"[127.0.0.1]:{self.port} {key}" if known else "")
        config = self.folder / name
        config.write_text(
            f"Host device\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {self.folder}/{identity}\n"
            f" IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {hosts}\n GlobalKnownHostsFile /dev/null\n"
        )
        return config

    def cut(self) -> int:
        """Kill every connection there is, as a cable pulled would; how many there were."""
        children = [pid for pid in _processes() if _parent(pid) == self._server.pid]
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(children)

    def stop(self) -> None:
        """Stop the server."""
        self.cut()
        self._server.terminate()
        self._server.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "sshd.log").read_text())


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
