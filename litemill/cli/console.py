"""How the command lines talk: consoles, JSON for programs, and one line for an error instead of a traceback.

Rich is loaded when something is shown with it: `litemill --help` should not wait for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litemill.errors import LitemillError

if TYPE_CHECKING:
    from litemill.cli.plain import PlainConsole as PlainConsole
    from litemill.cli.plain import shown_text as shown_text
    from litemill.cli.plain import styled as styled

    out: PlainConsole
    err: PlainConsole

WIDE = 140
"""Columns where the output is no terminal: a table in a log should not be broken into pieces."""

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and all else to standard error.")]


def __getattr__(name: str) -> Any:
    """The consoles on standard output and standard error, and what `plain` has, when they are first used."""
    if name not in ("out", "err", "PlainConsole", "shown_text", "styled"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from litemill.cli import plain

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    made = {"out": lambda: plain.PlainConsole(width=wide), "err": lambda: plain.PlainConsole(stderr=True)}
    value = globals()[name] = made[name]() if name in made else getattr(plain, name)
    return value


def print_json(value: Any) -> None:
    """Print evidence, or a mapping or list of it, as one JSON document: secrets hidden, NaN as null."""
    from pydantic_core import to_json

    from litemill.redact import redact

    sys.stdout.write(redact(to_json(value, indent=2, inf_nan_mode="null").decode()) + "\n")


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python prints of an error that nothing handled, without secrets."""
    from litemill.redact import redact

    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def warn(text: object, *, as_json: bool = False) -> None:
    """Print a warning; to standard error where standard output is JSON."""
    from litemill.cli import console

    shown = console.styled(("warning:", "yellow"), " ", text)
    (console.err if as_json else console.out).print(shown, soft_wrap=True)


def run(app: typer.Typer) -> None:
    """Run a command line; the exit code is 0, the error's own (2 for wrong usage, config or input), or 1;
    128 and the signal's number where one ended it.

    `LITEMILL_DEBUG=1` shows the traceback of any error.
    """
    from litemill.pipelines.interrupt import Interrupted, interruptible
    from litemill.redact import RedactedLines, RedactingFormatter

    if not sys.stdout.isatty():  # a log, which may be shown to others: what functions of the user's print, too
        sys.stdout = RedactedLines(sys.stdout)
        atexit.register(sys.stdout.close)
    if not sys.stderr.isatty():
        sys.stderr = RedactedLines(sys.stderr)
        atexit.register(sys.stderr.close)
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=os.environ.get("LITEMILL_LOG", "WARNING").upper(), handlers=[handler])
    sys.excepthook = _print_traceback
    try:
        with interruptible():
            app()
    except Interrupted as signal:
        from litemill.cli import console

        console.err.print(console.styled(("interrupted", "bold red"), f" by {signal}"), highlight=False)
        sys.exit(signal.exit_code)
    except LitemillError as error:
        if os.environ.get("LITEMILL_DEBUG"):
            raise
        from litemill.cli import console

        for line in str(error).splitlines():
            console.err.print(console.styled(("error:", "bold red"), " ", line), soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
