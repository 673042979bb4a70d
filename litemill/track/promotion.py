"""Which version of a registered model is the champion: moved by the gate or by hand, with a way back.

Aliases: `challenger` is the newest winner, `champion` what devices get, `previous` the champion before it. Each
decision is a tag of the version that it is about, so that the registry alone tells the history.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from litemill.config.run import CHAMPION
from litemill.errors import InputError
from litemill.redact import redact
from litemill.track.registry import aliases_of, versions_of
from litemill.track.store import store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHALLENGER, PREVIOUS = "challenger", "previous"
DECISION = "litemill.decision."
"""Prefix of the tags that hold decisions; what follows is when, in milliseconds since 1970."""
LONGEST_REASON = 1000

Action = Literal["promoted", "kept", "rolled back"]


class Move(BaseModel):
    """A decision about a version: it became the champion, it did not, or it was taken back."""

    action: Action
    version: str = Field(description="the version that the decision is about")
    reason: str
    by: str = Field(description="gate, or the user who decided by hand")
    before: str = Field("", description="version of the champion before the decision; empty where there was none")
    after: str = Field("", description="version of the champion after it")
    at: int = Field(0, description="milliseconds since 1970")

    @property
    def moved(self) -> bool:
        """Whether the champion is another now."""
        return self.before != self.after


def promote(name: str, version: str = "", *, reason: str = "") -> Move:
    """Make a version the champion by hand.

    Args:
        name: Of the registered model.
        version: Its number; the newest winner (alias `challenger`) without it.
        reason: Why, for the history.

    Raises:
        InputError: There is no such model or version, or it is the champion already.
        LitemillError: The store cannot be used.
    """
    with store_errors(f"promote a version of {name}") as client:
        known = aliases_of(client, name, must=True)
        chosen = _existing(client, name, version or known.get(CHALLENGER, ""))
        before = known.get(CHAMPION, "")
        if chosen == before:
            raise InputError(f"version {chosen} is the champion already", where=name)
        move = _decided("promoted", chosen, reason or "promoted by hand", before=before, after=chosen)
        move_champion(client, name, move)
        note(client, name, move)
    return move


def rollback(name: str, *, reason: str = "") -> Move:
    """Give the alias `champion` back to the version that had it before (alias `previous`).

    The version that is taken back is not promoted by the gate again, only by hand.

    Args:
        name: Of the registered model.
        reason: Why, for the history.

    Raises:
        InputError: There is no such model, or no champion before the present one.
        LitemillError: The store cannot be used.
    """
    with store_errors(f"roll back {name}") as client:
        known = aliases_of(client, name, must=True)
        present, back = known.get(CHAMPION, ""), known.get(PREVIOUS, "")
        if not present or not back or present == back:
            what = "has no champion" if not present else f"has no champion before version {present}"
            raise InputError(f"{what}, so there is no way back", where=name)
        _existing(client, name, back)
        move = _decided("rolled back", present, reason or "rolled back by hand", before=present, after=back)
        move_champion(client, name, move)
        note(client, name, move)
    return move


def ask_gate(client: MlflowClient, name: str, version: str, *, compared: str | None, manual: bool) -> Move:
    """Decide by proof whether a winner becomes the champion, and move the alias where it does.

    Args:
        client: Of the store.
        name: Of the registered model.
        version: The winner's.
        compared: Version of the champion that it was compared with; empty where there was none, None where that failed.
        manual: Whether only a person may move it.
    """
    present = aliases_of(client, name).get(CHAMPION, "")

    def decided(action: Action, reason: str, after: str) -> Move:
        return _decided(action, version, reason, before=present, after=after, by="gate")

    if present == version:
        return decided("kept", "it is the champion already", present)
    if manual:
        return decided("kept", "tracking.promote is manual: `litemill promote` makes it the champion", present)
    if taken_back(moves_of(client, name), version):
        return decided("kept", "it was rolled back before; `litemill promote` makes it the champion again", present)
    if compared is None or (present and not compared):
        return decided("kept", f"it was not compared with the champion, version {present or 'none'}", present)
    if present != compared:
        what = f"the champion became version {present or 'none'} while the run compared with version {compared}"
        return decided("kept", f"{what}; run again", present)
    reason = f"not worse than the champion before, version {present}" if present else "the first winner"
    move = decided("promoted", reason, version)
    move_champion(client, name, move)
    return move


def move_champion(client: MlflowClient, name: str, move: Move) -> None:
    """Set the aliases as a decision has it: the way back first, so that at no moment there is none."""
    back = _way_back(moves_of(client, name), move)
    if back:
        client.set_registered_model_alias(name, PREVIOUS, back)
    client.set_registered_model_alias(name, CHAMPION, move.after)
    if not back and PREVIOUS in aliases_of(client, name):
        client.delete_registered_model_alias(name, PREVIOUS)


def _way_back(moves: Sequence[Move], move: Move) -> str:
    """The version that a rollback after a decision goes to; empty where there is none."""
    if move.action == "promoted":
        return move.before
    line = champions(moves)
    while line and line[-1] in (move.before, move.after):
        line.pop()
    return line[-1] if line else ""


def champions(moves: Sequence[Move]) -> list[str]:
    """The champions that a rollback can go through, the present one last."""
    line: list[str] = []
    for move in moves:
        if move.action == "promoted" and move.moved:
            line = [one for one in line if one != move.after] + [move.after]
        elif move.action == "rolled back":
            line = [one for one in line if one != move.before]
    return line


def taken_back(moves: Sequence[Move], version: str) -> bool:
    """Whether the last thing that happened to a version as the champion was a rollback."""
    about = [one.action for one in moves if one.version == version and one.action != "kept"]
    return bool(about) and about[-1] == "rolled back"


def note(client: MlflowClient, name: str, move: Move) -> None:
    """Leave a decision as a tag of its version. That nothing changed is noted once and not each night."""
    last = [one for one in moves_of(client, name) if one.version == move.version]
    if move.action == "kept" and last and (move.reason, move.after) == (last[-1].reason, last[-1].after):
        return
    client.set_model_version_tag(name, move.version, f"{DECISION}{move.at}", move.model_dump_json())


def moves_of(client: MlflowClient, name: str) -> list[Move]:
    """The decisions about all versions of a model, oldest first. A tag that is not one of ours is left alone."""
    found = []
    for version in versions_of(client, name):
        for key, value in version.tags.items():
            if key.startswith(DECISION):
                try:
                    found.append(Move.model_validate_json(value))
                except ValidationError:
                    continue
    return sorted(found, key=lambda move: move.at)


def _existing(client: MlflowClient, name: str, version: str) -> str:
    """The version, if there is one.

    Raises:
        InputError: There is not.
    """
    from mlflow.exceptions import MlflowException

    if not version:
        raise InputError(f"has no {CHALLENGER}", where=name, fix="Name a version; `litemill history` lists them")
    try:
        return str(client.get_model_version(name, version).version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    raise InputError(f"has no version {version}", where=name, fix="`litemill history` lists them")


def _decided(action: Action, version: str, reason: str, *, before: str, after: str, by: str = "") -> Move:
    return Move(
        action=action,
        version=version,
        reason=redact(" ".join(reason.split()))[:LONGEST_REASON],
        by=by or _user(),
        before=before,
        after=after,
        at=time.time_ns() // 1_000_000,
    )


def _user() -> str:
    """Who decides by hand, as MLflow notes it for runs."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for the number of a container's user
        return "somebody"


class Version(BaseModel):
    """A version of a registered model, with what was found about it and decided."""

    version: str
    aliases: list[str] = Field(default_factory=list)
    created: int = Field(description="milliseconds since 1970")
    figures: dict[str, str] = Field(default_factory=dict, description="what the run found: recipe, size, accuracy …")
    decisions: list[Move] = Field(default_factory=list, description="oldest first")


def history(name: str) -> list[Version]:
    """The versions of a registered model, newest first.

    Args:
        name: Of the registered model.

    Raises:
        InputError: There is no such model.
        LitemillError: The store cannot be used.
    """
    with store_errors(f"read the history of {name}") as client:
        aliases = aliases_of(client, name, must=True)
        moves = moves_of(client, name)
        found = versions_of(client, name)
        return [_row(one, aliases, moves) for one in sorted(found, key=lambda one: -int(one.version))]


def _row(found: Any, aliases: dict[str, str], moves: Sequence[Move]) -> Version:
    version = str(found.version)
    ours = {key: value for key, value in found.tags.items() if key.startswith("litemill.")}
    return Version(
        version=version,
        aliases=sorted(alias for alias, of in aliases.items() if of == version),
        created=int(found.creation_timestamp),
        figures={key.removeprefix("litemill."): value for key, value in ours.items() if not key.startswith(DECISION)},
        decisions=[move for move in moves if move.version == version],
    )
