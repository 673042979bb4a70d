"""`litemill inspect` and `litemill diff`: what a `.tflite` holds, and how two differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from litemill.cli import console

if TYPE_CHECKING:
    from litemill.evidence import GraphReport, LayerSensitivity, VariantParity

DIFFERENT = 1
"""Exit code of `diff` for files that differ, as the tool of that name has it."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("inspect")(inspect)
    app.command("diff")(diff)


def inspect(
    file: Annotated[Path, typer.Argument(help="any .tflite")],
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
) -> None:
    """Tell what a .tflite holds: ops, fusion, weights, sizes, digests, and what accelerators would take of it.

    Where its variant.json lies beside it, also what only the conversion knew: the graph before fusion, parity with the
    Keras model, the sensitivity of each layer.
    """
    from litemill.stages.inspect import inspect_file

    found = inspect_file(file)
    if as_json:
        console.out.print_json(found.model_dump_json())
        return
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
    for table in (_ops(graph), _sections(graph), _weights(graph), _delegation(graph)):
        console.out.print(table)
    if found.variant and found.variant.parity:
        console.out.print(_parity(found.variant.parity))
    if found.variant and found.variant.sensitivity:
        console.out.print(_sensitivity(found.variant.sensitivity))


def _ops(graph: GraphReport) -> Table:
    table = Table("op", "count", "MACs", title="ops")
    for name, count in graph.ops.items():
        table.add_row(name, str(count), f"{graph.macs_by_op.get(name, 0):,}")
    for name, count in graph.fused_activations.items():
        table.add_row(f"fused {name}", str(count), "")
    for kind, count in graph.folded.items():
        table.add_row(f"folded {kind.replace('_', ' ')}", str(count), "")
    if graph.ops_before:
        table.add_row("ops of the graph before", str(sum(graph.ops_before.values())), "")
    table.add_row("adding a bias", str(graph.biases), "")
    table.add_row("QUANTIZE, DEQUANTIZE left over", str(graph.conversions), "")
    table.add_row("writing float", str(sum(graph.float_ops.values())), "")
    for name, count in graph.float_ops.items():
        table.add_row(f"  float {name}", str(count), "")
    return table


def _sections(graph: GraphReport) -> Table:
    table = Table("section", "bytes", title="size")
    for name, size in graph.sections.items():
        table.add_row(name, f"{size:,}")
    return table


def _weights(graph: GraphReport) -> Table:
    table = Table("weight", "op", "dtype", "shape", "bytes", "zeros", "distinct", title="weights")
    for weight in graph.weights:
        name = weight.name.split(";")[0] or "-"
        shape = "x".join(map(str, weight.shape))
        counts = (f"{weight.bytes:,}", f"{weight.sparsity:.1%}", str(weight.distinct))
        table.add_row(name, weight.op, weight.dtype, shape, *counts)
    return table


def _parity(rows: list[VariantParity]) -> Table:
    table = Table(
        "kernels", "against", "same class", "largest error", "mean error", title=f"parity on {rows[0].samples} samples"
    )
    for row in rows:
        same = "" if row.agreement is None else f"{row.agreement:.1%}"
        table.add_row(row.kernels, row.against, same, f"{row.max_error:.2e}", f"{row.mean_error:.2e}")
    return table


def _sensitivity(layers: list[LayerSensitivity]) -> Table:
    table = Table("layer", "op", "dB", "kept in float", title="sensitivity, worst first")
    for layer in layers:
        table.add_row(layer.name.split(";")[0], layer.op, f"{layer.sqnr_db:.1f}", "yes" if layer.kept_float else "")
    return table


def _delegation(graph: GraphReport) -> Table:
    table = Table("accelerator", "ops", "MACs", "left out", title="delegation")
    for name, found in graph.delegation.items():
        share = "" if found.macs_fraction is None else f"{found.macs_fraction:.0%}"
        reasons = "; ".join(f"{op}: {why}" for op, why in found.left.items())
        table.add_row(f"{name} ({found.kind})", f"{found.ops_fraction:.0%}", share, reasons)
    return table


def diff(
    first: Annotated[Path, typer.Argument(help="a .tflite")],
    second: Annotated[Path, typer.Argument(help="another .tflite")],
) -> None:
    """Tell how two .tflite files differ. Exit code 0: they compute and hold the same; 1: they differ."""
    from litemill.stages.inspect import differences, inspect_file

    found = differences(inspect_file(first), inspect_file(second))
    if not found:
        console.out.print("no difference in what they compute and hold")
        return
    table = Table("", str(first), str(second))
    for name, (left, right) in found.items():
        table.add_row(name, str(left), str(right))
    console.out.print(table)
    raise typer.Exit(DIFFERENT)
