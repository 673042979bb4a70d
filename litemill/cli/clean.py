"""`litemill clean`: remove what earlier runs left and no later run can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("clean", rich_help_panel="Whole runs")(clean_command)


def clean_command(
    work: Annotated[Path, typer.Option(help="Folder for intermediate artifacts, cache and logs.")] = Path(".litemill"),
    older: Annotated[
        str, typer.Option(metavar="AGE", help="Also what no run has used for so long, and logs as old: 30d, 12h.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Remove artifacts that the cache no longer needs. Results in --out folders and MLflow's runs stay."""
    from litemill.pipelines.cleaning import clean, seconds_of

    found = clean(work.absolute(), seconds_of(older) if older else None)
    if as_json:
        console.print_json({"folders": found.folders, "bytes": found.bytes, "entries": found.entries})
        return
    console.out.print(
        f"removed {found.folders} folders ({found.bytes / 1e6:,.1f} MB) and {found.entries} cache entries",
        highlight=False,
    )
