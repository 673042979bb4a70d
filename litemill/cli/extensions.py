"""`litemill list`: what a config can name, and which package brought it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litemill.cli import console
from litemill.cli.console import Json

if TYPE_CHECKING:
    from rich.table import Table

    from litemill.plugins import Registry

Row = dict[str, Any]
"""`name`, `summary`, `takes`, `package` and `version`; `error` instead where the record cannot be used."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list", rich_help_panel="Files and devices")(list_extensions)


def list_extensions(
    what: Annotated[str, typer.Argument(help="schemes, targets, data, metrics or storage; all without it.")] = "",
    as_json: Json = False,
) -> None:
    """List what a config can name: ours, and what installed packages bring.

    The exit code is 2 where a package brings something that cannot be used.
    """
    from litemill.errors import ConfigError, nearest, shown

    registries = _registries()
    if what and what not in registries:
        raise ConfigError(f"there is no list of {shown(what)}; {nearest(what, list(registries))}")
    found = {name: _rows(*registries[name]) for name in registries if what in ("", name)}
    if as_json:
        console.print_json(found)
    else:
        for name, rows in found.items():
            console.out.print(_table(name, rows))
    if any("error" in row for rows in found.values() for row in rows):
        raise typer.Exit(2)


def _registries() -> dict[str, tuple[Registry[Any], Callable[[Any], list[str]]]]:
    """Each registry, and what to say of a record beside its summary: its options, where it is used, or its form."""
    from litemill.artifacts.storage import STORES
    from litemill.config.data_kinds import DATA_KINDS
    from litemill.config.schemes import SCHEMES
    from litemill.config.targets import TARGETS
    from litemill.tasks import METRICS

    return {
        "schemes": (SCHEMES, lambda scheme: list(scheme.options.model_fields)),
        "targets": (TARGETS, lambda kind: kind.options()),
        "data": (DATA_KINDS, lambda kind: list(kind.options.model_fields)),
        "metrics": (METRICS, lambda metric: list(metric.tasks)),
        "storage": (STORES, lambda store: [store.address]),
    }


def _rows(registry: Registry[Any], takes: Callable[[Any], list[str]]) -> list[Row]:
    from litemill.errors import ConfigError

    rows: list[Row] = []
    for name in registry:
        try:
            record, origin = registry[name], registry.brought_by(name)
        except ConfigError as error:
            rows.append({"name": name, "error": str(error)})
            continue
        row = {"name": name, "summary": record.summary, "takes": takes(record)}
        rows.append(row | {"package": origin.distribution, "version": origin.version})
    return rows


def _table(name: str, rows: list[Row]) -> Table:
    from rich.table import Table

    headings: Mapping[str, str] = {"metrics": "for", "storage": "address"}
    table = Table("name", "what it is", headings.get(name, "options"), "from", title=name, title_justify="left")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], console.styled((row["error"], "red")), "", "")
            continue
        cells = (row["name"], row["summary"], ", ".join(row["takes"]), f"{row['package']} {row['version']}")
        table.add_row(*cells)
    return table
