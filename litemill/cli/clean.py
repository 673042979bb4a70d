"""`litemill clean`: remove what earlier runs left and no later run can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litemill.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("clean")(clean_command)


def clean_command(
    work: Annotated[Path, typer.Option(help="folder for intermediate artifacts, cache and logs")] = Path(".litemill"),
    older: Annotated[
        str, typer.Option(metavar="AGE", help="also what no run has used for so long, and logs as old: 30d, 12h")
    ] = "",
) -> None:
    """Remove artifacts that the cache no longer needs. Results in --out folders and MLflow's runs stay."""
    from litemill.pipelines.cleaning import clean, seconds_of

    found = clean(work.absolute(), seconds_of(older) if older else None)
    console.out.print(
        f"removed {found.folders} folders ({found.bytes / 1e6:,.1f} MB) and {found.entries} cache entries",
        highlight=False,
    )
