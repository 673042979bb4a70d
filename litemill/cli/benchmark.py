"""`litemill benchmark` and `litemill devices`: measure files on a target, and see which targets there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from litemill.cli import console

if TYPE_CHECKING:
    from litemill.config.targets import TargetSpec
    from litemill.evidence import Measurement

ALWAYS_HERE = ("host", "tflm", "ethos-u55-128")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("benchmark")(benchmark)
    app.command("devices")(devices)


def benchmark(
    files: Annotated[list[Path], typer.Argument(help=".tflite files; ratios refer to the first")],
    target: Annotated[str, typer.Option(help="host, tflm, ethos-u55-128, ssh://pi … or a mapping as JSON")] = "host",
    accelerator: Annotated[str, typer.Option(help="cpu, cpu-reference, gpu, npu:<vendor>, delegate:<library>")] = "",
    threads: Annotated[int, typer.Option(help="threads of an inference; 0: the target's own number")] = 0,
    samples: Annotated[Path | None, typer.Option(help=".npy of preprocessed samples; noise without it")] = None,
    out: Annotated[Path | None, typer.Option(help="write the measurements into this JSON file")] = None,
) -> None:
    """Measure `.tflite` files side by side on a target, with parity of their outputs."""
    from litemill.artifacts.files import write_text
    from litemill.benchmark import benchmark_files, check_target

    spec = check_target(target)
    given = {"accelerator": accelerator} if accelerator else {}
    spec = check_target({**_mapping(spec), **given, **({"threads": threads} if threads else {})})
    found = benchmark_files(spec, files, None if samples is None else _samples(samples))
    console.out.print(_table(found))
    for one in found:
        if one.status == "failed":
            console.out.print(console.styled((f"{one.recipe} failed:", "red"), " ", one.reason), soft_wrap=True)
    if out:
        write_text(out, json.dumps([one.model_dump(mode="json") for one in found], indent=2) + "\n")
    if all(one.status == "failed" for one in found):
        raise typer.Exit(1)


def devices(
    config: Annotated[Path | None, typer.Argument(help="run config whose targets to look at")] = None,
) -> None:
    """List targets: is each reachable, and what is it?"""
    from litemill.benchmark import check_target
    from litemill.benchmark.registry import open_target
    from litemill.config.load import load_config
    from litemill.errors import DeviceError, StepFailed

    targets = load_config(config).targets if config else [check_target(name) for name in ALWAYS_HERE]
    table = Table("target", "device", "reachable", "what it is")
    lost = 0
    for spec in targets:
        try:
            facts = open_target(spec).facts()
        except (DeviceError, StepFailed) as error:
            lost += 1
            table.add_row(spec.name, spec.device, console.styled(("no", "red")), str(error))
            continue
        table.add_row(spec.name, spec.device, console.styled(("yes", "green")), _message(facts))
    console.out.print(table)
    if lost:
        raise typer.Exit(1)


def _mapping(spec: TargetSpec) -> dict[str, Any]:
    written = spec.model_dump()
    return written if isinstance(written, dict) else {"name": spec.name, "device": spec.device}


def _samples(path: Path) -> Any:
    import numpy as np

    from litemill.errors import InputError

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read ({error})", where=str(path)) from None


def _table(found: Sequence[Measurement]) -> Table:
    table = Table(
        "file", "kind", "p50 ms [95 % CI]", "p90 ms", "× first", "", "init ms", "ops on it", "memory", "stored"
    )
    for one in found:
        low, high = one.latency_ci_ms.get("p50", (0.0, 0.0))
        p50, p90 = one.latency_ms.get("p50"), one.latency_ms.get("p90")
        ratio = one.ratio_to_float32
        table.add_row(
            one.recipe,
            one.kind if one.status == "ok" else console.styled(("failed", "red")),
            "" if p50 is None else f"{p50:.4g}" + (f" [{low:.4g}, {high:.4g}]" if high else ""),
            "" if p90 is None else f"{p90:.4g}",
            "" if ratio is None else f"{ratio.value:.3f} [{ratio.ci[0]:.3f}, {ratio.ci[1]:.3f}]",
            one.comparison,
            "" if one.init_ms is None else f"{one.init_ms:.3g}",
            "" if one.delegated_fraction is None else f"{one.delegated_fraction:.0%}",
            _bytes(one.arena_bytes or one.peak_memory_bytes),
            _bytes(one.realised_bytes),
        )
    return table


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _message(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
