"""`litemill calibrate`: are the calibration samples good, how many are enough, and which of them spoil the ranges?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json
from litemill.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from litemill.convert.sweep import CalibrationStudy

SHOWN = 10
"""Samples that are listed; all are in the JSON."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate", rich_help_panel="Files and devices")(calibrate)


def calibrate(
    config: Annotated[Path | None, typer.Argument(help="Run config (YAML); or give both folders below.")] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Convert with 1, 10, 50, … samples and evaluate each.")
    ] = False,
    counts: Annotated[str, typer.Option(help="Numbers of samples to try, with commas, instead of the usual.")] = "",
    scheme: Annotated[str, typer.Option(help="int8, int16x8 or mixed-int8.")] = "int8",
    model: Annotated[Path | None, typer.Option(help="Folder that import-model or train wrote.")] = None,
    dataset: Annotated[Path | None, typer.Option(help="Folder that prepare-data wrote.")] = None,
    as_json: Json = False,
) -> None:
    """Compare the calibration samples with the training data, and show which stretch a tensor's range most."""
    from litemill.convert.sweep import study_calibration

    asked = _counts(counts) if counts else None if sweep else []
    seed = 0
    with tempfile.TemporaryDirectory(prefix="litemill-calibrate-") as folder:
        if config is not None:
            from litemill.config.load import load_config

            seed = load_config(config).training.seed
            model, dataset = _prepared(config, Path(folder), model, dataset)
        if model is None or dataset is None:
            raise ConfigError("needs a run config, or --model and --dataset")
        study = study_calibration(model, dataset, scheme=scheme, counts=asked, seed=seed)
    if as_json:
        console.print_json(study)
        return
    _show(study)


def _prepared(config: Path, folder: Path, model: Path | None, dataset: Path | None) -> tuple[Path, Path]:
    """The config's model and data as artifacts, but for what is there already."""
    from litemill.config.load import load_config
    from litemill.stages.import_model import import_model
    from litemill.stages.prepare import prepare_data

    spec = load_config(config)
    if dataset is None:
        dataset = folder / "data"
        prepare_data(spec.data, model=spec.model, seed=spec.training.seed, out=dataset)
    if model is None:
        model = folder / "model"
        import_model(spec.model, dataset, out=model, baseline=folder / "baseline", trains=False)
    return model, dataset


def _counts(written: str) -> list[int]:
    try:
        return [int(word) for word in written.split(",") if word.strip()]
    except ValueError:
        raise ConfigError(f"{written!r} are not numbers with commas between them", where="--counts") from None


def _show(study: CalibrationStudy) -> None:
    report = study.report
    low, high = report.value_range
    lies = f"{report.samples} calibration samples in [{low:g}, {high:g}]"
    if report.train_range:
        lies += f", training samples in [{report.train_range[0]:g}, {report.train_range[1]:g}]"
    console.out.print(lies, highlight=False)
    apart = ", ".join(f"{name} {value:.2f}" for name, value in report.distance.items())
    console.out.print(f"distance to the training samples (0 alike, 1 apart): {apart}", highlight=False)
    for warning in report.warnings:
        console.warn(warning)
    if study.points:
        console.out.print(_points(study))
    console.out.print(_stretches(study) if study.stretches else "no sample stretches a range alone")


def _points(study: CalibrationStudy) -> Table:
    from rich.table import Table

    title = f"{study.scheme} by number of calibration samples; float32 {study.metric} {study.baseline:.4f}"
    table = Table("samples", study.metric, "drop", "95 % CI", "as float32", title=title)
    for point in study.points:
        if point.reason or point.value is None:
            table.add_row(str(point.samples), console.styled(("failed", "red")), "", "", point.reason)
            continue
        drop = point.drop
        table.add_row(
            str(point.samples),
            f"{point.value:.4f}",
            f"{drop.value:.4f}" if drop else "",
            f"[{drop.ci[0]:.4f}, {drop.ci[1]:.4f}]" if drop else "",
            "" if point.agreement is None else f"{point.agreement:.2%}",
        )
    return table


def _stretches(study: CalibrationStudy) -> Table:
    from rich.table import Table

    title = "samples that stretch a tensor's range most (rows of the calibration split)"
    table = Table("sample", "class", "tensor", "made by", "range without it", "with it", "wider", title=title)
    for one in study.stretches[:SHOWN]:
        without, whole = (f"[{low:.4g}, {high:.4g}]" for low, high in (one.range_without, one.value_range))
        label = "" if one.label is None else str(one.label)
        table.add_row(str(one.sample), label, one.tensor, one.op, without, whole, f"{one.widens:+.1%}")
    return table
