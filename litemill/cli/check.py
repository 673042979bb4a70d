"""`litemill check`: is a run config right, and are its data and model there and fit for each other?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litemill.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(config: Annotated[Path, typer.Argument(help="run config (YAML)")]) -> None:
    """Read a run config and the sources it names; tell what is wrong with them, before any compute."""
    from litemill.config.load import load_config
    from litemill.doctor.preflight import preflight

    spec = load_config(config)
    facts = preflight(spec)
    for warning in facts.warnings:
        console.warn(warning)
    counts = ", ".join(f"{count} {split}" for split, count in facts.samples.items())
    console.out.print(
        f"{config}: {len(spec.recipes)} recipes, input {facts.inputs or facts.input_shape}, {counts} samples"
    )
