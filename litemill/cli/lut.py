"""`litemill lut`: store the repeated weights of an int8 `.tflite` as look-up tables, for microcontrollers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json

if TYPE_CHECKING:
    from litemill.evidence.lut import LutReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lut", rich_help_panel="Files and devices")(lut)


def lut(
    source: Annotated[Path, typer.Argument(help="An int8 .tflite.", metavar="FILE", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The file to write.", metavar="OUT", show_default=False)],
    max_arena: Annotated[
        int | None, typer.Option(help="Bytes that its arena may have.", show_default="as many more as the file saves")
    ] = None,
    keep: Annotated[str, typer.Option(help="Of names, signatures, metadata; with commas, or none.")] = "signatures",
    samples: Annotated[
        Path | None, typer.Option(help=".npy of float inputs to compare outputs on; random ones without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a copy for microcontrollers whose repeated weights are look-up tables; outputs are proved to be equal."""
    from litemill.cli.slim import kept
    from litemill.errors import StepFailed
    from litemill.stages.lut import lut

    report = lut(source, out=out, max_arena=max_arena, keep=kept(keep), samples=samples)
    if as_json:
        console.print_json(report)
    else:
        _show(out, report)
    if not report.applied:
        raise StepFailed(f"{out} was not written: {report.reason}", where=str(source))


def _show(out: Path, report: LutReport) -> None:
    from rich.table import Table

    if report.applied:
        table = Table("weights", "shape", "bits", "values", "tables", "bytes saved", title=str(out))
        for one in report.tensors:
            kind = "one" if one.axis is None else f"a channel, axis {one.axis}"
            shape = " × ".join(map(str, one.shape))
            table.add_row(one.name, shape, str(one.bits), str(one.values), kind, f"{one.saved_bytes:,}")
        console.out.print(table)
    for name, why in report.left.items():
        console.out.print(console.styled(f"as it is: {name}: {why}"), soft_wrap=True, highlight=False)
    for check, outcome in report.checks.items():
        console.out.print(console.styled(f"{check}: {outcome}"), highlight=False)
    if report.applied:
        arena = f"arena {report.arena_before_bytes:,} → {report.arena_after_bytes:,} bytes"
        saved = 1 - report.after_bytes / report.before_bytes
        line = f"{report.before_bytes:,} → {report.after_bytes:,} bytes, {saved:.1%} smaller; {arena}"
        console.out.print(console.styled(line), soft_wrap=True, highlight=False)
