"""`litemill benchmark` and `litemill devices`: measure variants on a target, and see which targets there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litemill.cli import console
from litemill.cli.console import Json
from litemill.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from litemill.config.targets import TargetSpec
    from litemill.evidence.outcome import Measurement

ALWAYS_HERE = ("host", "tflm", "ethos-u55-128")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("benchmark", rich_help_panel="Single steps")(benchmark)
    app.command("devices", rich_help_panel="Files and devices")(devices)


def benchmark(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="VARIANTS|FILE...",
            help="A folder that convert wrote; or .tflite files, the first being what ratios refer to.",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Option(help="host, tflm, ethos-u55-128, ssh://pi … or a mapping as JSON.")] = "host",
    accelerator: Annotated[str, typer.Option(help="cpu, cpu-reference, gpu, npu:<vendor>, delegate:<library>.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of an inference; 0: the target's own number.")] = 0,
    baseline: Annotated[Path | None, typer.Option(help="Of a folder: that of the float32 baseline.")] = None,
    dataset: Annotated[Path | None, typer.Option(help="Of a folder: what prepare-data wrote.")] = None,
    samples: Annotated[Path | None, typer.Option(help="Of files: .npy of preprocessed samples, else noise.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Of a folder: the folder to write; of files: a JSON file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure variants side by side on a target. Exit code 1: none of them could be measured."""
    from litemill.benchmark import check_target

    spec = check_target(target)
    given = {"accelerator": accelerator} if accelerator else {}
    spec = check_target({**_mapping(spec), **given, **({"threads": threads} if threads else {})})
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise ConfigError("give one folder of variants, or .tflite files", where=str(folders[0]))
    if folders:
        found = _folder(spec, folders[0], baseline=baseline, dataset=dataset, out=out)
    else:
        found = _files(spec, paths, samples, out)
    if as_json:
        console.print_json(found)
    else:
        _show(found)
    if all(one.status == "failed" for one in found):
        raise typer.Exit(1)


def _folder(
    spec: TargetSpec, variants: Path, *, baseline: Path | None, dataset: Path | None, out: Path | None
) -> list[Measurement]:
    """Measure a folder of variants as the pipeline does."""
    from litemill.stages.benchmark import benchmark

    if baseline is None or dataset is None or out is None:
        missing = [
            name for name, value in (("--baseline", baseline), ("--dataset", dataset), ("--out", out)) if not value
        ]
        raise ConfigError(f"a folder of variants needs {', '.join(missing)}", where=str(variants))
    return list(benchmark(spec, variants, baseline=baseline, dataset=dataset, out=out).values())


def _files(spec: TargetSpec, files: list[Path], samples: Path | None, out: Path | None) -> list[Measurement]:
    """Measure any files, the first beside the others."""
    from litemill.artifacts.files import write_text
    from litemill.benchmark import benchmark_files

    found = benchmark_files(spec, files, None if samples is None else _samples(samples))
    if out:
        write_text(out, json.dumps([one.model_dump(mode="json") for one in found], indent=2) + "\n")
    return list(found)


def _show(found: Sequence[Measurement]) -> None:
    console.out.print(_table(found))
    for one in found:
        if one.status == "failed":
            console.out.print(console.styled((f"{one.recipe} failed:", "red"), " ", one.reason), soft_wrap=True)


def devices(
    config: Annotated[Path | None, typer.Argument(help="Run config whose targets to look at.")] = None,
    as_json: Json = False,
) -> None:
    """List targets: is each reachable, and what is it? Exit code 1: one is not."""
    from litemill.benchmark import check_target
    from litemill.benchmark.registry import open_target
    from litemill.config.load import load_config
    from litemill.errors import DeviceError, StepFailed

    targets = load_config(config).targets if config else [check_target(name) for name in ALWAYS_HERE]
    found: list[dict[str, Any]] = []
    for spec in targets:
        one: dict[str, Any] = {"target": spec.name, "device": spec.device, "reachable": True}
        try:
            one["facts"] = open_target(spec).facts()
        except (DeviceError, StepFailed) as error:
            one |= {"reachable": False, "reason": str(error)}
        found.append(one)
    if as_json:
        console.print_json(found)
    else:
        console.out.print(_devices(found))
    if not all(one["reachable"] for one in found):
        raise typer.Exit(1)


def _devices(found: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("target", "device", "reachable", "what it is")
    for one in found:
        reached = console.styled(("yes", "green") if one["reachable"] else ("no", "red"))
        what = _message(one["facts"]) if one["reachable"] else one["reason"]
        table.add_row(one["target"], one["device"], reached, what)
    return table


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
    from rich.table import Table

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
