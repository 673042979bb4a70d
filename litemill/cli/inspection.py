"""The tables that `litemill inspect` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from litemill.evidence.graph import GraphReport
    from litemill.evidence.variant import LayerSensitivity, VariantParity


def ops(graph: GraphReport) -> Table:
    """Ops by kind with their multiply-accumulates, and what was fused and folded."""
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


def sections(graph: GraphReport) -> Table:
    """Bytes by section of the file."""
    table = Table("section", "bytes", title="size")
    for name, size in graph.sections.items():
        table.add_row(name, f"{size:,}")
    return table


def weights(graph: GraphReport) -> Table:
    """Each weight with its share of zeros and its number of distinct values."""
    table = Table("weight", "op", "dtype", "shape", "bytes", "zeros", "distinct", title="weights")
    for weight in graph.weights:
        name = weight.name.split(";")[0] or "-"
        shape = "x".join(map(str, weight.shape))
        counts = (f"{weight.bytes:,}", f"{weight.sparsity:.1%}", str(weight.distinct))
        table.add_row(name, weight.op, weight.dtype, shape, *counts)
    return table


def parity(rows: list[VariantParity]) -> Table:
    """Distances to the model's own outputs."""
    table = Table(
        "kernels", "against", "same class", "largest error", "mean error", title=f"parity on {rows[0].samples} samples"
    )
    for row in rows:
        same = "" if row.agreement is None else f"{row.agreement:.1%}"
        table.add_row(row.kernels, row.against, same, f"{row.max_error:.2e}", f"{row.mean_error:.2e}")
    return table


def sensitivity(layers: list[LayerSensitivity]) -> Table:
    """What quantizing each layer alone costs."""
    table = Table("layer", "op", "dB", "kept in float", title="sensitivity, worst first")
    for layer in layers:
        table.add_row(layer.name.split(";")[0], layer.op, f"{layer.sqnr_db:.1f}", "yes" if layer.kept_float else "")
    return table


def delegation(graph: GraphReport) -> Table:
    """What accelerators would take."""
    table = Table("accelerator", "ops", "MACs", "left out", title="delegation")
    for name, found in graph.delegation.items():
        share = "" if found.macs_fraction is None else f"{found.macs_fraction:.0%}"
        reasons = "; ".join(f"{op}: {why}" for op, why in found.left.items())
        table.add_row(f"{name} ({found.kind})", f"{found.ops_fraction:.0%}", share, reasons)
    return table
