"""`litemill compare`: which variant to ship, from the folders that `convert`, `evaluate` and `benchmark` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json
from litemill.cli.run import NO_ADMISSIBLE_VARIANT


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", rich_help_panel="Single steps")(compare)


def compare(
    config: Annotated[Path, typer.Argument(help="run config (YAML): its budget and objective", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder to write; it must not be there yet")],
    variants: Annotated[list[Path], typer.Option(help="bundle that `litemill convert` wrote; once for each model")],
    evaluation: Annotated[list[Path], typer.Option(help="evaluation of each bundle, in the same order")],
    measurement: Annotated[
        list[Path] | None, typer.Option(help="what `litemill benchmark` wrote, for each target and bundle")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="evaluation of the baseline: narrower intervals for all variants together")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge variants by the config's budget, rank them and write the report. Exit code 3: none meets the budget."""
    from litemill.cli.show import results_tables
    from litemill.config.load import load_config
    from litemill.stages.compare import compare as compare_folders

    spec = load_config(config)
    results = compare_folders(
        variants,
        evaluation,
        measurement or (),
        out=out,
        reference=reference,
        budget=spec.budget,
        objective=spec.objective,
        name=spec.name,
    )
    if as_json:
        console.print_json(results)
    else:
        for table in results_tables(results):
            console.out.print(table)
        console.out.print(results.reason, highlight=False)
    if not results.winner:
        raise typer.Exit(NO_ADMISSIBLE_VARIANT)
