"""Call functions that parse foreign files in a child process: a crash, a hang or a memory bomb is the file's fault.

`contained("package.module:function", path, where=…)` calls the function in the child and gives back what it returned.
One child serves all calls of this process, so a call on a healthy file costs a millisecond; the first starts the child.
What the child may use is limited for each call: seconds of CPU (they do not pass while other programs keep the machine
busy), seconds by the clock, and memory. The kernel ends it even inside native code.

Arguments and results are JSON values, bytes and numpy arrays (not pickle: a child that a file took over could answer
with code). The child sees none of the environment but what Python needs, so it holds no passwords.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from litemill.errors import ConfigError, DeviceError, InputError, LitemillError, StepFailed
from litemill.process.frames import Frame, frame, read_frame, write_frame
from litemill.process.limits import MIB, Limits

log = logging.getLogger(__name__)

PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "OMP_NUM_THREADS",
)
"""Variables of the environment that the child gets, besides those of Python itself."""
ERRORS = {kind.__name__: kind for kind in (LitemillError, ConfigError, DeviceError, InputError, StepFailed)}
DEEP = "is nested too deep to be read"
WORDS = 300
"""How many characters of an unforeseen error are shown."""


def begin(*modules: str) -> None:
    """Start the child and let it import, while this process does something else.

    Args:
        *modules: Those of the functions that will be called. One that cannot be imported is an error of the call.
    """
    with _lock:
        _running(modules)


def contained(function: str, *args: Any, where: str, limits: Limits | None = None) -> Any:
    """Call a function where it can do no harm.

    Args:
        function: `package.module:name`. The module is imported before the time counts, so it should import at its top
            what it needs.
        *args: JSON values, bytes, paths (they arrive as strings) or numpy arrays.
        where: Names the file in errors.
        limits: What the call may use; by default `Limits.for_size` of the file at `where`, if there is one.

    Returns:
        What the function returned; tuples as lists, paths as strings.

    Raises:
        InputError: The file crashed its reader, took too much time or memory, or raised an error nobody foresaw.
        LitemillError: As the function raised it; or the child does not start.
    """
    limits = limits or Limits.for_size(_size(where))
    with _lock:
        return _running().call(function, args, where, limits)


def _here() -> str:
    """The folder that relative paths start from: it may be another one than when the child began, or be gone."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


def _size(where: str) -> int:
    try:
        return Path(where).stat().st_size
    except (OSError, ValueError):
        return 0


class _Child:
    """The process that does the calls, and how to talk with it."""

    def __init__(self, modules: tuple[str, ...] = ()) -> None:
        self.owner = os.getpid()
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        kept = {key: value for key, value in os.environ.items() if key in PASSED_ON or key.startswith("PYTHON")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    @property
    def alive(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def call(self, function: str, args: tuple[Any, ...], where: str, limits: Limits) -> Any:
        order = frame({"function": function, "args": args, "limits": asdict(limits), "folder": _here()})
        start = self.stderr.seek(0, os.SEEK_END)
        try:
            write_frame(self._pipe("stdin"), order)
            answer = read_frame(self._pipe("stdout"))
        except (OSError, EOFError):
            raise self._death(where, limits, start) from None
        except RecursionError:
            raise InputError(DEEP, where=where) from None
        except BaseException:
            # The answer to this call would be taken for that to the next one.
            self.end()
            raise
        if "result" in answer:
            return answer["result"]
        raise _error(answer, where)

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] = getattr(self.process, name)
        return pipe

    def _death(self, where: str, limits: Limits, start: int) -> LitemillError:
        """Why there was no answer."""
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.stderr.seek(start)
        words = self.stderr.read().decode(errors="replace").strip()
        log.debug("%s: the reading process ended with %s: %s", where, code, words)
        if code == -signal.SIGPROF:
            return InputError(f"reading it takes more than {limits.cpu_seconds:.3g} s and was stopped", where=where)
        if code == -signal.SIGALRM:
            return InputError(f"reading it takes more than {limits.seconds:.3g} s and was stopped", where=where)
        if code < 0:
            what = f"crashes the process that reads it ({signal.Signals(-code).name})"
            return InputError(what, where=where, fix="It is damaged, or not what its name says")
        last = words.splitlines()[-1][:WORDS] if words else "it wrote nothing"
        return LitemillError(f"the process that reads files ended with exit code {code}: {last}", where=where)

    def end(self) -> None:
        """Let the child go; of another process's child, only close the pipes."""
        if self.owner == os.getpid() and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.stderr):
            if pipe and not pipe.closed:
                try:
                    pipe.close()
                except OSError:
                    continue


_lock = threading.Lock()
_children: list[_Child] = []
"""The one child, once it was needed."""


def _running(modules: tuple[str, ...] = ()) -> _Child:
    if _children and not _children[0].alive:
        _children.pop().end()
    if not _children:
        _children.append(_Child(modules))
    return _children[0]


@atexit.register
def _end_child() -> None:
    while _children:
        _children.pop().end()


def _after_fork() -> None:
    """A forked process starts with a lock of its own: the parent's might be held by a thread that it does not have."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _error(answer: dict[str, Any], where: str) -> LitemillError:
    """The error that the function raised, as it was for one of ours."""
    if answer["error"] == "":
        return InputError(answer["what"], where=where)
    return ERRORS[answer["error"]](answer["what"], where=answer["where"], fix=answer["fix"])


def _serve(modules: list[str]) -> None:
    """Import modules, and answer calls until the parent closes the pipe or ends; the child's side."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # native code that prints must not write into an answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    while True:
        try:
            call = read_frame(calls)
        except EOFError:
            return
        write_frame(answers, _answer(call))


def _answer(call: dict[str, Any]) -> Frame:
    """Do one call within its limits."""
    module, _, name = call["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        return _refusal(f"cannot load {call['function']}: {error}", kind="LitemillError")
    limits = Limits(**call["limits"])
    try:
        with contextlib.suppress(OSError):
            os.chdir(call["folder"])
        _limit(limits)
        return frame({"result": function(*call["args"])})
    except LitemillError as error:
        return _refusal(error.what, kind=type(error).__name__, place=error.where, fix=error.fix)
    except MemoryError:
        return _refusal(f"reading it takes more than {limits.memory // MIB:,} MiB of memory and was stopped")
    except RecursionError:
        return _refusal(DEEP)
    except Exception as error:
        log.debug("%s failed", call["function"], exc_info=True)
        first = next(iter(str(error).strip().splitlines()), "")[:WORDS]
        return _refusal(f"cannot be read ({type(error).__name__}{': ' * bool(first)}{first})")
    finally:
        _limit(None)


def _refusal(what: str, *, kind: str = "", place: str = "", fix: str = "") -> Frame:
    """The answer for an error; without a kind it is one that nobody foresaw, and the parent names the file."""
    return frame({"error": kind, "what": what, "where": place, "fix": fix})


def _limit(limits: Limits | None) -> None:
    """Set the limits of a call; None lifts them."""
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds if limits else 0)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds if limits else 0)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = _data_in_use() + limits.memory if limits else hard
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_in_use() -> int:
    """Bytes of private writable memory that this process has mapped, as Linux counts them for RLIMIT_DATA."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration, ValueError):
        return 0


if __name__ == "__main__":
    _serve(sys.argv[1:])
