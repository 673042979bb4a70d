"""`litemill promote|rollback|history|sync|verify`: the champion, what MLflow has, what a release holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litemill.cli import console
from litemill.cli.console import Json
from litemill.errors import ConfigError

if TYPE_CHECKING:
    from litemill.track.promotion import Move, Version

PANEL = "Registry and releases"
Model = Annotated[
    str, typer.Argument(help="Name of the registered model, or a run config that names one.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why, for the history.", show_default=False)]
FIGURES = ("recipe", "size_bytes", "accuracy", "accuracy_drop")
"""What the table shows of each version; `--json` has all."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("promote", rich_help_panel=PANEL)(promote)
    app.command("rollback", rich_help_panel=PANEL)(rollback)
    app.command("history", rich_help_panel=PANEL)(history)
    app.command("sync", rich_help_panel=PANEL)(sync)
    app.command("verify", rich_help_panel=PANEL)(verify)


def promote(
    model: Model,
    version: Annotated[str, typer.Option(help="Version to promote. [default: the newest winner]")] = "",
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Make a version of a registered model the champion."""
    from litemill.track.promotion import promote

    _show(promote(_named(model), version, reason=reason), as_json)


def rollback(model: Model, reason: Reason = "", as_json: Json = False) -> None:
    """Give the champion's place back to the version that had it before."""
    from litemill.track.promotion import rollback

    _show(rollback(_named(model), reason=reason), as_json)


def history(model: Model, as_json: Json = False) -> None:
    """List the versions of a registered model with their figures, decisions and reasons."""
    from litemill.track.promotion import history

    name = _named(model)
    found = history(name)
    if as_json:
        console.print_json(found)
        return
    if not found:
        console.out.print(f"{name} has no version", highlight=False)
    for version in found:
        _print_version(version)


def sync(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results of a run.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Log what a run kept on disk while MLflow was down. Done again, it changes nothing."""
    from litemill.stages.sync import sync

    done = sync(folder)
    if as_json:
        console.print_json(done)
        return
    line = f"MLflow has all of run {done.run_id} already"
    if done.logged:
        line = f"logged {done.variants} variants to run {done.run_id}"
        line += f", registered as version {done.registered}" if done.registered else ""
        line += f", released to {done.release}" if done.release else ""
    console.out.print(console.styled(line), soft_wrap=True, highlight=False)


def verify(
    uri: Annotated[str, typer.Argument(metavar="URI", help="Folder or address of a release.", show_default=False)],
    key: Annotated[str, typer.Option(help="Public key (PEM) of who must have signed it.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """Check a release from end to end: digests, signature, evidence, and that the file answers as it says."""
    from litemill.artifacts.layout import TFLM_TFLITE
    from litemill.stages.release import verify

    found = verify(uri, key=key)
    if as_json:
        console.print_json(found)
        return
    signed = "not signed"
    if found.signed_by:
        signed = f"signed by the key {found.signed_by[:16]}…"
        signed += "" if found.trusted else " (whose that is was not checked: give --key)"
    answered = f"{found.samples} kept samples answered as recorded" if found.samples else "no samples are kept with it"
    answered += f"; {TFLM_TFLITE} in TFLM: {found.tables}" if found.tables else ""
    line = f"{found.name} {found.recipe} {found.sha256[:12]}: {found.files} files as released, {signed}, {answered}"
    console.out.print(console.styled(line), soft_wrap=True, highlight=False)


def _print_version(version: Version) -> None:
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    figures = ", ".join(f"{name} {_figure(version.figures[name])}" for name in FIGURES if name in version.figures)
    heading = console.styled((f"version {version.version}", "bold"), aliases, f"  {_date(version.created)}  {figures}")
    console.out.print(heading, soft_wrap=True, highlight=False)
    for move in version.decisions:
        line = f"  {_date(move.at)}  {move.action} by {move.by}: {move.reason}"
        console.out.print(console.styled(line), soft_wrap=True, highlight=False)


def _figure(text: str) -> str:
    """A number as a reader takes it in: six digits are enough."""
    words = []
    for word in text.split():
        bare = word.strip("[],")
        try:
            short = f"{int(bare):,}" if bare.isdigit() else f"{float(bare):.4f}"
        except ValueError:
            short = bare
        words.append(word.replace(bare, short) if bare else word)
    return " ".join(words)


def _date(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(milliseconds / 1000))


def _show(move: Move, as_json: bool) -> None:
    if as_json:
        console.print_json(move)
        return
    before = f"version {move.before}" if move.before else "none"
    line = f"champion: version {move.after}, before {before} ({move.reason})"
    console.out.print(console.styled(line), soft_wrap=True, highlight=False)


def _named(model: str) -> str:
    """The registered model that an argument means: its name, or the one of a run config."""
    if not model.endswith((".yaml", ".yml")):
        return model
    from litemill.config.load import load_config

    name = load_config(Path(model)).tracking.registered_model
    if not name:
        raise ConfigError("names no tracking.registered_model", where=model)
    return name
