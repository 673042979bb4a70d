"""What a task's log says of its end."""

from __future__ import annotations

import codecs
import io
import os
import re
import signal
import threading
from pathlib import Path
from typing import IO

import litemill.errors
from litemill.errors import first_line
from litemill.process.isolation import death
from litemill.redact import RedactedLines


class RedactedOutput:
    """A pipe for a process, with all that it starts: what they print goes to a file without secrets.

    Native code and other programs print past Python's streams, so it is not enough to redact those.

    Args:
        file: Where it goes; it must stay open until `finish`.

    Attributes:
        writer: What the process gets; `started` closes it here.
    """

    def __init__(self, file: IO[bytes]) -> None:
        reader, writer = os.pipe()
        self.writer = os.fdopen(writer, "wb", buffering=0)
        self._thread = threading.Thread(target=self._pass_on, args=(reader, file), daemon=True)

    def started(self) -> None:
        """The process has its end of the pipe."""
        self.writer.close()
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is written; not for long where something that left the process's group lives on."""
        self._thread.join(timeout=LAST_WORDS_SECONDS)

    def _pass_on(self, reader: int, file: IO[bytes]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text = io.TextIOWrapper(os.fdopen(os.dup(file.fileno()), "wb"), encoding="utf-8", write_through=True)
        printed = RedactedLines(text)
        with text, os.fdopen(reader, "rb", buffering=0) as pipe:
            while piece := pipe.read(PIECE_BYTES):
                printed.write(decoder.decode(piece))
            printed.write(decoder.decode(b"", final=True))
            printed.close()


PIECE_BYTES = 1 << 16
LAST_WORDS_SECONDS = 10.0
TAIL_BYTES = 1 << 16
SIGNALLED = 128
RAISED = re.compile(
    r"(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failed|Interrupt|Exit|Warning)"
    r"|litemill\.[\w.]+\.[A-Z]\w*): (?P<text>.+)"
)
OURS = re.compile(r"litemill\.[\w.]+\.(?P<kind>\w+)$")


def last_lines(log: Path) -> list[str]:
    """The last lines of a task's log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def error_in(lines: list[str], code: int) -> tuple[str, int]:
    """The error of a task of which only its log and its container's exit code are left, and the exit code for that.

    Args:
        lines: The last lines of its log.
        code: Exit code of its container: above 128 where a signal ended it.
    """
    if code - SIGNALLED in set(signal.Signals):
        return death(SIGNALLED - code, lines, None, "the task's container"), 1
    for at in reversed(range(len(lines))):
        if found := RAISED.match(lines[at]):
            ours = OURS.match(found["kind"])
            text = first_line("\n".join([found["text"], *lines[at + 1 :]])) or found["text"]
            if ours:
                kind = getattr(litemill.errors, ours["kind"], litemill.errors.LitemillError)
                return text, kind.exit_code
            return f"{found['kind'].rpartition('.')[2]}: {text}", 1
    return death(code, lines, None, "the task's container"), 1
