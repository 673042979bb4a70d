"""A process that has imported already and forks one that works, for each request: what a new Python costs is paid once.

`python -m litemill.process.forkserver SOCKET LIFE PARENT MODULE…` imports the modules, then answers requests that come
as datagrams through an inherited socket (see `litemill.process.forks`, the other side). It has no threads of its own
and never computes anything, so what it forks is as good as new. Each process that it forks leads a group of its own;
when the process ends, or the one that asked for it, the whole group is ended. When nobody holds the other end of
the pipe LIFE any more (the run has ended or was killed) everything is ended, and the folder of the run removed.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import logging
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from litemill.process.family import end_with, kill_group, outlive_parent

HANDLES = 3
"""Of each request: its text, where to answer, and where the process prints to."""
IMPORTED_WITH = ("TF_", "XLA_", "CUDA_", "NVIDIA_", "KERAS_", "OMP_", "OPENBLAS_", "MKL_", "NUMEXPR_", "LD_", "PYTHONH")
"""Beginnings of variables that libraries read while they are imported: for other values a new Python is needed."""


@dataclass
class _Running:
    """A forked process: its id, and where its end is awaited."""

    pid: int
    answer: socket.socket


def main() -> None:
    """Import, then fork for whoever asks."""
    handle, life, parent, *modules = sys.argv[1:]
    end_with(int(parent))
    before = dict(os.environ)
    for module in modules:
        _preload(module)
    gc.collect()
    gc.freeze()  # the garbage collector would copy shared pages
    # From here on the end of the run is seen at the pipe, so that no process that was forked is left behind.
    outlive_parent()
    _Server(socket.socket(fileno=int(handle)), int(life), before).serve()


def _preload(module: str) -> None:
    """Import a module, or call `module:function`; what is not installed here is not missed."""
    name, _, function = module.partition(":")
    try:
        found = importlib.import_module(name)
        if function:
            getattr(found, function)()
    except Exception:
        logging.getLogger(__name__).warning("cannot import %s", module, exc_info=True)


class _Server:
    def __init__(self, requests: socket.socket, life: int, environment: dict[str, str]) -> None:
        self.requests, self.life = requests, life
        self.before = environment
        self.changed = {name: value for name, value in os.environ.items() if environment.get(name) != value}
        self.running: dict[int, _Running] = {}
        self._closed: list[int] = []
        self.ended, waker = os.pipe()
        os.set_blocking(self.ended, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Answer until the run ends."""
        poll = select.poll()
        poll.register(self.requests, select.POLLIN)
        poll.register(self.ended, select.POLLIN)
        poll.register(self.life, select.POLLHUP)
        while True:
            for handle in [one.answer.fileno() for one in self.running.values()]:
                poll.register(handle, select.POLLHUP)
            for handle, _ in poll.poll():
                if handle == self.life:
                    self._end()
                elif handle == self.ended:
                    self._collect()
                elif handle == self.requests.fileno():
                    self._accept()
                else:
                    poll.unregister(handle)
                    self._abandoned(handle)
            for handle in self._closed:
                with suppress(KeyError):
                    poll.unregister(handle)
            self._closed.clear()

    def _accept(self) -> None:
        handles = _receive(self.requests)
        if len(handles) != HANDLES:
            return
        request, answer, output = handles
        with os.fdopen(request, "rb") as file:
            file.seek(0)
            order = json.loads(file.read())
        channel = socket.socket(fileno=answer)
        if not self._can_be(order["env"]):
            channel.send(json.dumps({"refused": True}).encode())
            channel.close()
            os.close(output)
            return
        sys.stdout.flush()
        sys.stderr.flush()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._work(order, output, server)
        with suppress(OSError):
            os.setpgid(pid, pid)
        os.close(output)
        self.running[pid] = _Running(pid, channel)
        with suppress(OSError):
            channel.send(json.dumps({"pid": pid}).encode())

    def _can_be(self, environment: dict[str, str]) -> bool:
        """Whether what libraries read at import has the values of then, or those that the imports gave it."""
        fixed = {name for name in (*environment, *self.before) if name.startswith(IMPORTED_WITH)}
        known = [{**self.before, **changes} for changes in ({}, self.changed)]
        return all(any(environment.get(name) == values.get(name) for values in known) for name in fixed)

    def _work(self, order: dict[str, Any], output: int, server: int) -> NoReturn:
        """Be the process that was asked for."""
        os.setpgid(0, 0)
        end_with(server)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream in (1, 2):
            os.dup2(output, stream)
        for handle in (output, self.life, self.ended):
            os.close(handle)
        for one in self.running.values():
            one.answer.close()
        os.environ.clear()
        os.environ.update(self.changed | order["env"])
        os.chdir(order["cwd"])
        # As `python -m` does: the current folder comes first.
        sys.path[:] = [order["cwd"], *(place for place in order["path"] if place not in ("", order["cwd"]))]
        sys.argv[:] = order["argv"]
        tempfile.tempdir = None
        os._exit(_run(order["module"]))

    def _collect(self) -> None:
        """Answer for every process that has ended, and end what it left in its group."""
        with suppress(BlockingIOError):
            os.read(self.ended, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            kill_group(pid)
            one = self.running.pop(pid)
            with suppress(OSError):
                one.answer.send(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())
            self._closed.append(one.answer.fileno())
            one.answer.close()

    def _abandoned(self, handle: int) -> None:
        """End a process that nobody waits for any more."""
        for one in self.running.values():
            if one.answer.fileno() == handle:
                kill_group(one.pid)

    def _end(self) -> NoReturn:
        for pid in self.running:
            kill_group(pid)
        os._exit(0)


def _receive(requests: socket.socket) -> list[int]:
    """The handles that came with a request."""
    handles = array.array("i")
    size = socket.CMSG_SPACE(HANDLES * handles.itemsize)
    _, ancillary, _, _ = requests.recvmsg(1, size)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            handles.frombytes(data[: len(data) - len(data) % handles.itemsize])
    return list(handles)


def _run(module: str) -> int:
    """Run a module as `python -m` does; its exit code."""
    try:
        with warnings.catch_warnings():
            # Python warns that the module is imported already.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return code


if __name__ == "__main__":
    main()
