"""`litemill slim`: make any `.tflite` smaller without changing an output bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json

if TYPE_CHECKING:
    from litemill.evidence.variant import SlimReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("slim", rich_help_panel="Files and devices")(slim)


def slim(
    source: Annotated[Path, typer.Argument(help="The .tflite to slim.", metavar="FILE", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.", show_default=False)],
    keep: Annotated[str, typer.Option(help="Of names, signatures, metadata; with commas, or none.")] = "signatures",
    samples: Annotated[
        Path | None, typer.Option(help=".npy of float inputs to compare outputs on; random ones without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a smaller copy that is proved to compute the same; a plain copy where it cannot be."""
    from litemill.errors import StepFailed
    from litemill.stages.slim import slim

    report = slim(source, out=out, keep=kept(keep), samples=samples)
    if as_json:
        console.print_json(report)
    elif report.before:
        _show(out, report)
    if report.reason and not report.before:
        raise StepFailed(f"not slimmed, {out} is a plain copy: {report.reason}", where=str(source))


def kept(written: str) -> list[str]:
    """What `--keep` names."""
    return [] if written == "none" else [name.strip() for name in written.split(",") if name.strip()]


def _show(out: Path, report: SlimReport) -> None:
    from rich.table import Table

    table = Table("bytes", "before", "after", title=str(out))
    for section, before in report.before.items():
        table.add_row(section, f"{before:,}", f"{report.after[section]:,}")
    table.add_row("file", f"{report.before_bytes:,}", f"{report.after_bytes:,}", style="bold")
    console.out.print(table)
    for check, outcome in report.checks.items():
        console.out.print(f"{check}: {outcome}")
    if report.before_bytes:
        console.out.print(f"{report.reason or f'{1 - report.after_bytes / report.before_bytes:.1%} smaller'}")
