"""What a task's log says of its end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TextIO

import litemill.errors
from litemill.errors import first_line
from litemill.redact import redact


class RedactedLines:
    """A stream that passes on what is written line by line, without secrets.

    Args:
        file: Where it goes.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self._line = ""

    def write(self, text: str) -> int:
        """Write whole lines; the rest waits for its end."""
        *lines, self._line = (self._line + text).split("\n")
        self.file.writelines(redact(line) + "\n" for line in lines)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """What else a stream has is the file's."""
        return getattr(self.file, name)

    def flush(self) -> None:
        """Pass on whole lines."""
        self.file.flush()

    def close(self) -> None:
        """Pass on what has no end, too."""
        self.file.write(redact(self._line))
        self._line = ""
        self.file.flush()


TAIL_BYTES = 1 << 16
RAISED = re.compile(
    r"(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failed|Interrupt|Exit|Warning)): (?P<text>.+)"
)
OURS = re.compile(r"litemill\.[\w.]+\.(?P<kind>\w+)$")


def last_lines(log: Path) -> list[str]:
    """The last lines of a task's log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


RAISED = re.compile(
    r"(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failed|Interrupt|Exit|Warning)): (?P<text>.+)"
)
OURS = re.compile(r"litemill\.[\w.]+\.(?P<kind>\w+)$")


def error_in(lines: list[str]) -> tuple[str, int]:
    """The error of a task of which only its log is left: the exception it ended with, and the exit code for that."""
    for at in reversed(range(len(lines))):
        if found := RAISED.match(lines[at]):
            ours = OURS.match(found["kind"])
            text = first_line("\n".join([found["text"], *lines[at + 1 :]])) or found["text"]
            if ours:
                kind = getattr(litemill.errors, ours["kind"], litemill.errors.LitemillError)
                return text, kind.exit_code
            return f"{found['kind'].rpartition('.')[2]}: {text}", 1
    line = first_line("\n".join(reversed(lines)))
    return line or "it printed nothing", 1
