"""How the command lines talk: rich consoles, and one line for an error instead of a traceback."""

from __future__ import annotations

import logging
import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from litemill.errors import LitemillError

WIDE = 140
"""Columns where the output is no terminal: a table in a log should not be broken into pieces."""

out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
err = Console(stderr=True)


def run(app: typer.Typer) -> None:
    """Run a command line; the exit code is 0, the error's own (2 for wrong usage, config or input), or 1.

    `LITEMILL_DEBUG=1` shows the traceback of any error.
    """
    logging.basicConfig(
        level=os.environ.get("LITEMILL_LOG", "WARNING").upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        app()
    except LitemillError as error:
        if os.environ.get("LITEMILL_DEBUG"):
            raise
        for line in str(error).splitlines():
            err.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
