"""How the command lines talk: rich consoles, and one line for an error instead of a traceback.

A text is printed as it is: what looks like rich's markup (`[/b]`) or an emoji (`:bug:`) in a path, a name or an error
has no meaning, a control character is shown and not sent to the terminal, and a secret is hidden. Whoever wants colours
says so with `styled`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import IO, Any

import typer
from rich.console import Console
from rich.text import Text

from litemill.errors import LitemillError
from litemill.pipelines.interrupt import Interrupted, interruptible
from litemill.redact import RedactingFormatter, redact

WIDE = 140
"""Columns where the output is no terminal: a table in a log should not be broken into pieces."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Terminal codes, half characters, and marks that turn the direction of what follows."""


class PlainConsole(Console):
    """A console for which a text is nothing but text."""

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(file=file, stderr=stderr, width=width, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """What rich makes of any text: of a line, a cell, a title, a branch of a tree."""
        return super().render_str(shown_text(text), **options)


def shown_text(value: object) -> str:
    """Anything as a text fit for a terminal: secrets hidden, control characters as `\\x1b`."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", redact(str(value)))


def styled(*parts: object) -> Text:
    """A line of texts, some of them with a style: `styled("ship ", (winner, "bold"))`."""
    pairs = [part if isinstance(part, tuple) else (part, "") for part in parts]
    return Text.assemble(*((shown_text(text), str(style)) for text, style in pairs))


out = PlainConsole(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
err = PlainConsole(stderr=True)


def warn(text: object) -> None:
    """Print a warning."""
    out.print(styled(("warning:", "yellow"), " ", text), soft_wrap=True)


def run(app: typer.Typer) -> None:
    """Run a command line; the exit code is 0, the error's own (2 for wrong usage, config or input), or 1;
    128 and the signal's number where one ended it.

    `LITEMILL_DEBUG=1` shows the traceback of any error.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=os.environ.get("LITEMILL_LOG", "WARNING").upper(), handlers=[handler])
    try:
        with interruptible():
            app()
    except Interrupted as signal:
        err.print(styled(("interrupted", "bold red"), f" by {signal}"), highlight=False)
        sys.exit(signal.exit_code)
    except LitemillError as error:
        if os.environ.get("LITEMILL_DEBUG"):
            raise
        for line in str(error).splitlines():
            err.print(styled(("error:", "bold red"), " ", line), soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
