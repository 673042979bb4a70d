"""`litemill slim`: make any `.tflite` smaller without changing an output bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from litemill.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("slim")(slim)


def slim(
    source: Annotated[Path, typer.Argument(help="the .tflite to slim", metavar="IN")],
    out: Annotated[Path, typer.Argument(help="the file to write", metavar="OUT")],
    keep: Annotated[str, typer.Option(help="of names, signatures, metadata; with commas, or none")] = "signatures",
    samples: Annotated[
        Path | None, typer.Option(help=".npy of float inputs to compare outputs on; random ones without it")
    ] = None,
) -> None:
    """Write a smaller copy that is proved to compute the same; a plain copy where it cannot be."""
    from litemill.errors import StepFailed
    from litemill.slim import slim_file

    kept = [] if keep == "none" else [name.strip() for name in keep.split(",") if name.strip()]
    report = slim_file(source, out, keep=kept, samples=samples)
    if report.reason and not report.before:
        raise StepFailed(f"not slimmed, {out} is a plain copy: {report.reason}", where=str(source))
    table = Table("bytes", "before", "after", title=str(out))
    for section, before in report.before.items():
        table.add_row(section, f"{before:,}", f"{report.after[section]:,}")
    table.add_row("file", f"{report.before_bytes:,}", f"{report.after_bytes:,}", style="bold")
    console.out.print(table)
    for check, outcome in report.checks.items():
        console.out.print(f"{check}: {outcome}")
    if report.before_bytes:
        console.out.print(f"{report.reason or f'{1 - report.after_bytes / report.before_bytes:.1%} smaller'}")
