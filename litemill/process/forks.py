"""Start Python modules as processes that were forked from one that has imported already, or as new ones.

`ForkServer` starts such a process (see `litemill.process.forkserver`); whatever it forks finds it by an inherited
socket, so that a task's own workers are forked from the same one. `start_module` is all that they call.
"""

from __future__ import annotations

import array
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from litemill.process.family import end_with, kill_group

VARIABLE = "LITEMILL_FORK_SERVER"
"""Number of the socket at which this process's fork server takes requests."""
PARENT = "LITEMILL_PARENT"
"""Id of the process that started this one, where a new Python had to be started: see `end_with_starter`."""
ANSWER_BYTES = 4096
log = logging.getLogger(__name__)


def end_with_starter() -> None:
    """Let this process end with the one that started it; the first thing that a module of ours does when it is run."""
    if parent := os.environ.pop(PARENT, ""):
        end_with(int(parent))


class Refused(Exception):
    """No fork server answers, or it cannot fork what is asked for: a new Python is needed."""


class Process:
    """A process of ours that runs a module; `wait` gives its exit code, negative for the signal that ended it."""

    def __init__(self, pid: int, answer: socket.socket | None = None, child: subprocess.Popen[bytes] | None = None):
        self.pid = pid
        self._answer, self._child, self._code = answer, child, None

    _code: int | None

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code; None where it still runs after `timeout` seconds."""
        if self._child:
            with suppress(subprocess.TimeoutExpired):
                self._code = self._child.wait(timeout)
        elif self._code is None and self._answer:
            self._answer.settimeout(timeout)
            try:
                text = self._answer.recv(ANSWER_BYTES)
                # A fork server that is gone has taken everything with it.
                self._code = json.loads(text)["code"] if text else -signal.SIGKILL
            except TimeoutError:
                return None
            except OSError:
                self._code = -signal.SIGKILL
            self._answer.close()
        return self._code

    def kill(self) -> None:
        """End it, with all that it started."""
        if self._code is None:
            kill_group(self.pid)


def start_module(
    module: str,
    arguments: Sequence[str],
    output: IO[bytes],
    *,
    environment: Mapping[str, str] | None = None,
    server: int | None = None,
) -> Process:
    """Run `python -m module arguments…` as a process of its own group.

    Args:
        module: What to run.
        arguments: What it finds in `sys.argv`.
        output: File for what it prints.
        environment: Its variables; by default those of this process.
        server: Socket of the fork server to ask; by default that of this process, if it has one.
    """
    variables = dict(os.environ if environment is None else environment)
    if server is None:
        server = _inherited()
    if server is not None:
        variables[VARIABLE] = str(server)
        try:
            return _ask(server, module, arguments, output, variables)
        except Refused:
            log.debug("%s runs in a new Python", module, exc_info=True)
    variables.pop(VARIABLE, None)
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**variables, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), PARENT: str(os.getpid())},
        process_group=0,
    )
    return Process(child.pid, child=child)


def _inherited() -> int | None:
    """The socket that this process was forked with, if it is still one."""
    text = os.environ.get(VARIABLE, "")
    try:
        handle = int(text)
        with socket.socket(fileno=os.dup(handle)) as found:
            ours = (found.family, found.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return handle if ours else None
    except (ValueError, OSError):
        return None


def _ask(server: int, module: str, arguments: Sequence[str], output: IO[bytes], variables: dict[str, str]) -> Process:
    order = {
        "module": module,
        "argv": [module, *arguments],
        "env": variables,
        "cwd": str(Path.cwd()),
        "path": sys.path,
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(request), "wb") as file:
            file.write(json.dumps(order).encode())
        handles = array.array("i", [request, theirs.fileno(), output.fileno()])
        with socket.socket(fileno=os.dup(server)) as channel:
            channel.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handles)])
        theirs.close()
        answer: dict[str, Any] = json.loads(ours.recv(ANSWER_BYTES) or b"{}")
    except OSError as error:
        ours.close()
        raise Refused(str(error)) from None
    finally:
        theirs.close()
        os.close(request)
    if "pid" not in answer:
        ours.close()
        raise Refused("the fork server refused")
    return Process(int(answer["pid"]), ours)


class ForkServer:
    """A fork server of this process; it ends with it, and everything that it forked.

    Args:
        modules: What it imports, or calls (`package.module:function`), before it forks.
        log: File for what the imports print.
    """

    def __init__(self, modules: Sequence[str], log: IO[bytes]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watched, self._life = os.pipe()
        handles = [str(handle) for handle in (theirs.fileno(), watched, os.getpid())]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "litemill.process.forkserver", *handles, *modules],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=(theirs.fileno(), watched, ours.fileno()),
            start_new_session=True,  # Ctrl-C is for the run, which ends everything in order
        )
        theirs.close()
        os.close(watched)
        self._socket = ours

    def start(
        self, module: str, arguments: Sequence[str], output: IO[bytes], environment: Mapping[str, str]
    ) -> Process:
        """Run a module in a process forked from the server, or in a new one where that cannot be."""
        return start_module(module, arguments, output, environment=environment, server=self.handle)

    @property
    def handle(self) -> int:
        """Number of the socket at which it takes requests, for `VARIABLE`."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the server and everything that it forked."""
        os.close(self._life)
        self._socket.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
