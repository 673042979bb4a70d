"""`litemill …`: the one program, and the entry point of the images."""

from __future__ import annotations

from typing import Annotated

import typer

from litemill import __version__
from litemill.cli import (
    benchmark,
    calibrate,
    check,
    clean,
    console,
    doctor,
    extensions,
    inspect,
    kubeflow,
    run,
    slim,
    steps,
)

app = typer.Typer(
    name="litemill",
    help="Compress, convert, evaluate and benchmark TensorFlow Lite models, with the evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        console.out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print it")] = False,
) -> None:
    pass


for command in (run, check, doctor, kubeflow, calibrate, steps, benchmark, inspect, slim, extensions, clean):
    command.register(app)


def main() -> None:
    """Entry point of the console script."""
    console.run(app)
