"""`litemill submit|schedule|schedules|status`: the same run on Kubeflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from litemill.cli import console
from litemill.cli.console import Json
from litemill.errors import ConfigError

Config = Annotated[Path, typer.Argument(help="Run config (YAML).", show_default=False)]
Host = Annotated[
    str, typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="URL of the Kubeflow Pipelines API.", show_default=False)
]
Namespace = Annotated[str, typer.Option(help="Kubernetes namespace of the runs.")]
MARKS = {
    "SUCCEEDED": ("✓", "green"),
    "FAILED": ("✗", "red"),
    "RUNNING": ("…", ""),
    "SKIPPED": ("-", ""),
    "CANCELED": ("■", "yellow"),
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("submit", rich_help_panel="Kubeflow")(submit_command)
    app.command("schedule", rich_help_panel="Kubeflow")(schedule_command)
    app.command("schedules", rich_help_panel="Kubeflow")(schedules_command)
    app.command("status", rich_help_panel="Kubeflow")(status_command)


def submit_command(
    config: Config,
    host: Host,
    wait: Annotated[bool, typer.Option(help="Follow the run until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Upload the pipeline of a config, unless this very version is there, and start a run."""
    from litemill.config.load import load_config

    spec = load_config(config)
    from litemill.pipelines.client import connect
    from litemill.pipelines.submit import submit

    client = connect(host, spec.cluster.namespace)
    run_id, version = submit(client, host, spec)
    page = f"{host.rstrip('/')}/#/runs/details/{run_id}"
    if not as_json:
        console.out.print(
            f"version {version.name} {'already there' if version.reused else 'uploaded'}", highlight=False
        )
        console.out.print(f"run {run_id}: {page}", highlight=False, soft_wrap=True)
    elif not wait:
        console.print_json({"run_id": run_id, "page": page, "version": version.name, "uploaded": not version.reused})
    if wait:
        _follow(client, host, run_id, wait=True, as_json=as_json)


def schedule_command(
    config: Config,
    host: Host,
    cron: Annotated[str, typer.Option(help="Six fields, seconds first, in UTC: '0 0 3 * * *'.", show_default=False)],
    catchup: Annotated[bool, typer.Option(help="Make up for runs missed while paused or down.")] = True,
    max_concurrency: Annotated[int, typer.Option(min=1, max=10, help="Runs at a time.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the pipeline of a config on a schedule; the schedule of that name is replaced."""
    from litemill.config.load import load_config

    spec = load_config(config)
    from litemill.pipelines.client import connect
    from litemill.pipelines.schedules import next_times, schedule

    times = next_times(cron)
    client = connect(host, spec.cluster.namespace)
    made, replaced = schedule(client, host, spec, cron, catchup=catchup, max_concurrency=max_concurrency)
    if as_json:
        shown = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]
        console.print_json({"id": made, "name": spec.name, "cron": cron, "replaced": bool(replaced), "next": shown})
        return
    console.out.print(f"schedule {spec.name} {'replaced' if replaced else 'created'}: {made}", highlight=False)
    for time in times:
        console.out.print(f"  {time:%a %Y-%m-%d %H:%M:%S} UTC", highlight=False)


def schedules_command(
    host: Host,
    namespace: Namespace = "kubeflow",
    pause: Annotated[str, typer.Option(help="Name of a schedule to pause.")] = "",
    resume: Annotated[str, typer.Option(help="Name of a schedule to resume.")] = "",
    delete: Annotated[str, typer.Option(help="Name of a schedule to delete.")] = "",
    as_json: Json = False,
) -> None:
    """List the schedules; or pause, resume or delete one by name."""
    from litemill.pipelines.client import connect
    from litemill.pipelines.schedules import change, schedules

    asked = [(action, name) for action, name in (("pause", pause), ("resume", resume), ("delete", delete)) if name]
    if len(asked) > 1:
        raise ConfigError("pause, resume and delete exclude each other: give one")
    client = connect(host, namespace)
    for action, name in asked:
        change(client, host, namespace, name, action)
    found = [
        {
            "name": run.display_name,
            "cron": getattr(getattr(run.trigger, "cron_schedule", None), "cron", "") or "",
            "state": run.status,
            "at most": run.max_concurrency,
            "id": run.recurring_run_id,
        }
        for run in schedules(client, host, namespace)
    ]
    if as_json:
        console.print_json(found)
        return
    from rich.table import Table

    table = Table("name", "cron", "state", "at most", "id")
    for one in found:
        table.add_row(*(str(value) for value in one.values()))
    console.out.print(table)


def status_command(
    run: Annotated[str, typer.Argument(help="Id of the run.", show_default=False)],
    host: Host,
    namespace: Namespace = "kubeflow",
    follow: Annotated[bool, typer.Option(help="Go on until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show a run with its tasks."""
    from litemill.pipelines.client import connect

    _follow(connect(host, namespace), host, run, wait=follow, as_json=as_json)


def _follow(client: Any, host: str, run_id: str, *, wait: bool, as_json: bool = False) -> None:
    from litemill.pipelines.submit import ENDED, follow, require_success

    shown: dict[str, str] = {}

    def show(run: Any) -> None:
        tasks = run.run_details.task_details if run.run_details else None
        for task in tasks or []:
            name, state = str(task.display_name), str(task.state or "PENDING")
            if shown.get(name) != state:
                shown[name] = state
                line = console.styled(MARKS.get(state, ("·", "")), f" {name:<34} {state.lower()}")
                (console.err if as_json else console.out).print(line, highlight=False)

    state = follow(client, host, run_id, show, wait=wait, every=float(os.environ.get("LITEMILL_POLL_SECONDS", "10")))
    if as_json:
        console.print_json({"run_id": run_id, "state": state.lower(), "tasks": shown})
    else:
        console.out.print(f"run {run_id}: {state.lower()}", highlight=False)
    if state in ENDED:
        require_success(state, run_id, host)
