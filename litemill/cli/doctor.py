"""`litemill doctor`: what of a run will and will not work, told in under a minute, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from litemill.cli import console

STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    config: Annotated[Path, typer.Argument(help="run config (YAML)")],
    markdown: Annotated[Path | None, typer.Option(help="write the diagnosis to this Markdown file too")] = None,
) -> None:
    """Examine a run's data, preprocessing, layers and recipes. Exit code 1 where something makes the run useless."""
    from litemill.artifacts.files import write_text
    from litemill.config.load import load_config
    from litemill.doctor import diagnose, to_markdown

    diagnosis = diagnose(load_config(config))
    for finding in diagnosis.findings:
        fix = f". {finding.fix}" if finding.fix else ""
        line = console.styled((f"{finding.level}:", STYLES[finding.level]), " ", finding.what + fix)
        console.out.print(line)
    for name, reason in diagnosis.recipes.items():
        console.out.print(console.styled("recipe ", (name, "bold"), ": ", reason or "should work"))
    if diagnosis.layers:
        table = Table("layer", "type", "parameters", "prune", "cluster", "qat", title="which step takes which layer")
        for layer in diagnosis.layers:
            cells = [layer.prune or "yes", layer.cluster or "yes", layer.qat or "yes"]
            table.add_row(layer.name, layer.type, str(layer.parameters), *cells)
        console.out.print(table)
    if markdown:
        write_text(markdown, to_markdown(diagnosis))
    if any(finding.level == "error" for finding in diagnosis.findings):
        raise typer.Exit(1)
