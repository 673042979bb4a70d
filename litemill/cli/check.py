"""`litemill check`: is a run config right, and are its data and model there and fit for each other?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litemill.cli import console
from litemill.cli.ahead import start_readers
from litemill.cli.console import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", rich_help_panel="Whole runs")(check)


def check(
    config: Annotated[Path, typer.Argument(help="Run config (YAML).", show_default=False)], as_json: Json = False
) -> None:
    """Check a run config and the model and data it names, before any compute."""
    start_readers()
    from litemill.doctor.check import check as check_config

    found = check_config(config)
    if as_json:
        console.print_json(found)
        return
    for warning in found.warnings:
        console.warn(warning)
    counts = ", ".join(f"{count} {split}" for split, count in found.samples.items())
    shape = found.inputs or tuple(found.input_shape)
    console.out.print(f"{config}: {found.recipes} recipes, input {shape}, {counts} samples")
