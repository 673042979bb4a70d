"""`litemill inspect` and `litemill diff`: what a `.tflite` holds, and how two differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json

if TYPE_CHECKING:
    from litemill.stages.inspect import Inspection

DIFFERENT = 1
"""Exit code of `diff` for files that differ, as the tool of that name has it."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("inspect", rich_help_panel="Files and devices")(inspect)
    app.command("diff", rich_help_panel="Files and devices")(diff)


def inspect(
    file: Annotated[Path, typer.Argument(help="Any .tflite.", show_default=False)], as_json: Json = False
) -> None:
    """Show what a .tflite holds: ops, weights, sizes, digests, delegation.

    Where its variant.json lies beside it, also what only the conversion knew: the graph before fusion, parity with the
    Keras model, the sensitivity of each layer.
    """
    from litemill.stages.inspect import inspect_file

    found = inspect_file(file)
    if as_json:
        console.print_json(found)
    else:
        _show(file, found)


def _show(file: Path, found: Inspection) -> None:
    from litemill.cli import inspection

    graph = found.graph
    if found.cannot_run:
        console.out.print(f"on this host {found.cannot_run}; read without it", markup=False)
    sizes = f"{found.size_bytes:,} bytes, {found.gzip_bytes:,} gzip, {found.zstd_bytes:,} zstd"
    console.out.print(f"{file}: {sizes}, {graph.macs:,} MACs, {graph.sparsity:.1%} of weights zero")
    console.out.print(f"sha256 {found.sha256}\ncomputes {found.canonical_sha256}")
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            scale = f", scale {tensor.scale:g}, zero point {tensor.zero_point}" if tensor.scale else ""
            console.out.print(f"{kind} {tensor.name}: {tensor.dtype} {tensor.shape}{scale}", markup=False)
    for table in (
        inspection.ops(graph),
        inspection.sections(graph),
        inspection.weights(graph),
        inspection.delegation(graph),
    ):
        console.out.print(table)
    if found.variant and found.variant.parity:
        console.out.print(inspection.parity(found.variant.parity))
    if found.variant and found.variant.sensitivity:
        console.out.print(inspection.sensitivity(found.variant.sensitivity))


def diff(
    first: Annotated[Path, typer.Argument(help="A .tflite.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Another .tflite.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show how two .tflite files differ. Exit code 0: they compute and hold the same; 1: they differ."""
    from litemill.stages.inspect import differences, inspect_file

    found = differences(inspect_file(first), inspect_file(second))
    if as_json:
        console.print_json({name: {"first": left, "second": right} for name, (left, right) in found.items()})
    elif not found:
        console.out.print("no difference in what they compute and hold")
    else:
        from rich.table import Table

        table = Table("", str(first), str(second))
        for name, (left, right) in found.items():
            table.add_row(name, str(left), str(right))
        console.out.print(table)
    if found:
        raise typer.Exit(DIFFERENT)
