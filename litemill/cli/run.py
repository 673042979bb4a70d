"""`litemill run|plan|compile|components`: from a run config to a ranked table, here or on Kubeflow."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.ahead import start_light_server, start_readers
from litemill.cli.console import Json
from litemill.errors import ConfigError

if TYPE_CHECKING:
    from litemill.config.run import RunSpec
    from litemill.select.results import Results

NO_ADMISSIBLE_VARIANT = 3
PANEL = "Whole runs"


class Runner(StrEnum):
    """Where the tasks of a local run are executed."""

    SUBPROCESS = "subprocess"
    CONTAINER = "container"


Config = Annotated[Path, typer.Argument(help="Run config (YAML).", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", rich_help_panel=PANEL)(run_command)
    app.command("plan", rich_help_panel=PANEL)(plan_command)
    app.command("compile", rich_help_panel="Kubeflow")(compile_command)
    app.command("components", rich_help_panel="Kubeflow")(components_command)


def plan_command(config: Config, as_json: Json = False) -> None:
    """Show the tasks and recipes of a run, and check its model and data, before any compute."""
    from litemill.cli.show import plan_tree
    from litemill.pipelines.preview import preview

    spec = _checked(config, as_json)
    if as_json:
        console.print_json(preview(spec))
    else:
        console.out.print(plan_tree(spec))


def run_command(
    config: Config,
    out: Annotated[Path | None, typer.Option(help="Folder for the results. [default: out/<name>]")] = None,
    work: Annotated[Path, typer.Option(help="Folder for intermediate artifacts, cache and logs.")] = Path(".litemill"),
    runner: Annotated[Runner, typer.Option(help="Where tasks run: in this Python, or in the project's images.")] = (
        Runner.SUBPROCESS
    ),
    cache: Annotated[bool, typer.Option(help="Serve tasks whose inputs and code are unchanged from the cache.")] = True,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on this machine. Exit code 0: a variant met the budget; 3: none did."""
    began = time.monotonic()
    if runner == Runner.SUBPROCESS:
        start_light_server()
    spec = _checked(config, as_json)
    out = out or Path("out") / spec.name
    from litemill.cli.show import Progress
    from litemill.pipelines.local import RunFailed, run_locally

    progress = Progress(console.PlainConsole(sys.stderr if as_json else sys.stdout, width=console.out.width))
    failed: RunFailed | None = None
    results: Results | None
    try:
        results = run_locally(spec, out, work, cache=cache, containers=runner == Runner.CONTAINER, tell=progress)
    except RunFailed as error:
        failed, results = error, error.results
    finally:
        progress.close()
    if results and as_json:
        console.print_json(results)
    elif results:
        _show(results, out, work)
    if not as_json:
        took = time.monotonic() - began
        console.out.print(f"{progress.ran} tasks run, {progress.cached} from cache, {took:.0f} s", highlight=False)
    if failed:
        raise failed
    if results and not results.winner:
        raise typer.Exit(NO_ADMISSIBLE_VARIANT)


def _show(results: Results, out: Path, work: Path) -> None:
    """The ranked tables, what to ship, and where everything is."""
    from litemill.cli.show import results_tables

    console.out.print()
    for table in results_tables(results):
        console.out.print(table)
    message = ("ship ", (results.winner, "bold")) if results.winner else (("no variant meets the budget", "bold"),)
    where = f"   report: {out / 'report.html'}   MLflow run: {results.mlflow_run_id}"
    console.out.print(console.styled(*message, where), soft_wrap=True)
    places = f"results in {out.absolute()}, cache and logs in {work.absolute()}"
    console.out.print(places, soft_wrap=True, highlight=False)


def compile_command(
    config: Config,
    out: Annotated[Path, typer.Option("--out", "-o", help="The YAML file to write.", show_default=False)],
) -> None:
    """Compile the pipeline to Kubeflow's intermediate representation."""
    from litemill.config.load import load_config

    spec = load_config(config)
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError("a compiled pipeline is a .yaml file", where=str(out))
    from litemill.pipelines.submit import compile_for_cluster

    size = compile_for_cluster(spec, out)
    console.out.print(f"compiled {config} to {out}: {size:,} bytes", highlight=False, soft_wrap=True)


def components_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("components"),
) -> None:
    """Write each component as a component.yaml that any Kubeflow pipeline can load."""
    from litemill.pipelines.published import publish_components

    written = publish_components(out)
    console.out.print(f"{len(written) - 1} components and a README in {out}", highlight=False)


def _checked(config: Path, as_json: bool) -> RunSpec:
    start_readers()
    from litemill.config.load import load_config
    from litemill.doctor.preflight import preflight

    spec = load_config(config)
    for warning in preflight(spec).warnings:
        console.warn(warning, as_json=as_json)
    return spec
