"""`litemill …`: the one program, and the entry point of the images."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from litemill import __version__
from litemill.cli import (
    benchmark,
    calibrate,
    check,
    clean,
    compare,
    console,
    doctor,
    explorer,
    extensions,
    inspect,
    kubeflow,
    lut,
    registry,
    run,
    slim,
    steps,
)

LONGEST = 120
"""Characters of the line of a command; longer ones are cut."""
EPILOG = """\
Examples:

\b
  litemill plan doorbell.yaml                 what would run; checks model and data, computes nothing
  litemill run doorbell.yaml                  the whole pipeline here; results in out/doorbell
  litemill inspect model.tflite --json        what any .tflite holds, for a program

The same steps are functions (`import litemill as lm; help(lm.convert)`) and Kubeflow components.
Exit codes: 0 done, 3 no variant meets the budget, 2 wrong usage or input, 1 anything else.
"""


class Sections(TyperGroup):
    """The commands in sections, in the order in which they are used."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with a line each, under the names of their sections."""
        sections: dict[str, list[Any]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                sections.setdefault(str(getattr(command, "rich_help_panel", None) or "Commands"), []).append(command)
        for title, commands in sections.items():
            with formatter.section(title):
                formatter.write_dl([(str(one.name), one.get_short_help_str(LONGEST)) for one in commands])


app = typer.Typer(
    name="litemill",
    help="Compress, convert, evaluate and benchmark TensorFlow Lite models, and say which to ship.",
    epilog=EPILOG,
    cls=Sections,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich takes longer to load than everything else that help needs
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for commands in (
    *(run, check, doctor, steps, benchmark, compare, inspect, explorer, slim, lut, calibrate),
    *(registry, extensions, kubeflow, clean),
):
    commands.register(app)


def main() -> None:
    """Entry point of the console script."""
    console.run(app)
