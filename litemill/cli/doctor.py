"""`litemill doctor`: what of a run will and will not work, in under a minute, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json

if TYPE_CHECKING:
    from litemill.doctor.findings import Diagnosis

STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", rich_help_panel="Whole runs")(doctor)


def doctor(
    config: Annotated[Path, typer.Argument(help="Run config (YAML).", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(help="Write the diagnosis to this Markdown file too.")] = None,
    as_json: Json = False,
) -> None:
    """Examine a run's data, preprocessing, layers and recipes. Exit code 1 where something makes the run useless."""
    from litemill.artifacts.files import write_text
    from litemill.config.load import load_config
    from litemill.doctor.diagnose import diagnose
    from litemill.doctor.findings import to_markdown

    diagnosis = diagnose(load_config(config))
    if as_json:
        console.print_json(diagnosis)
    else:
        _show(diagnosis)
    if markdown:
        write_text(markdown, to_markdown(diagnosis))
    if any(finding.level == "error" for finding in diagnosis.findings):
        raise typer.Exit(1)


def _show(diagnosis: Diagnosis) -> None:
    from rich.table import Table

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
