"""`litemill explorer`: what is known of each op of a variant, for Google's Model Explorer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explorer", rich_help_panel="Files and devices")(explorer)


def explorer(
    variant: Annotated[Path, typer.Argument(help="Folder of a variant, or a .tflite.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .json file to write.", show_default=False)],
    figure: Annotated[
        str, typer.Option(help="sensitivity, bytes, macs or latency. [default: a file for each that is known]")
    ] = "",
    target: Annotated[str, typer.Option(help="Of Arm's, for the latency: ethos-u55-128.")] = "",
    as_json: Json = False,
) -> None:
    """Write node data for Model Explorer: what each op costs, and which are sensitive to quantization."""
    from litemill.stages.explorer import explorer

    places = explorer(variant, out=out, figure=figure, target=target or None)
    if as_json:
        console.print_json({name: str(place) for name, place in places.items()})
        return
    for name, place in places.items():
        console.out.print(console.styled(f"{name}: {place}"), soft_wrap=True, highlight=False)
