"""Registries: what a config can name, ours and what other packages bring, one frozen record a name.

A record holds all that is known about its thing and names the code that does the work as a string,
`package.module:name`. Nothing of that is imported before it is used, so the vocabulary stays light: a config is checked
without TensorFlow, and a target's tools are needed only where that target is measured.

Another package adds a record through an entry point of the registry's group; nothing in Litemill changes:

    [project.entry-points."litemill.schemes"]
    int4x8 = "their_package:SCHEME"
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import litemill
from litemill.errors import ConfigError, InputError, first_line, nearest, shown

log = logging.getLogger(__name__)

REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""Code by name: package.module:name."""


class Named(Protocol):
    """A record: frozen, and found by its name."""

    @property
    def name(self) -> str:
        """What a config calls it."""


Record = TypeVar("Record", bound=Named)


@dataclass(frozen=True)
class Origin:
    """The package that brought a record.

    Attributes:
        distribution: Its name, as `pip list` has it.
        version: Its version.
    """

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    def versions(self) -> dict[str, str]:
        """As a manifest records it."""
        return {self.distribution: self.version}


OURS = Origin("litemill", litemill.__version__)


class Registry(Generic[Record]):
    """Records by name: ours, and those of the entry points of one group, which are read once, when first needed.

    A package whose entry point cannot be used costs nothing until its name is asked for.

    Args:
        noun: What a record is, in messages: `scheme`.
        group: The group of entry points: `litemill.schemes`.
        record: The type every record has.
        ours: Those that Litemill brings, in the order in which they are listed.

    Example:
        >>> @dataclass(frozen=True)
        ... class Colour:
        ...     name: str
        >>> colours = Registry("colour", "example.colours", Colour, [Colour("red"), Colour("blue")])
        >>> colours["red"]
        Colour(name='red')
        >>> colours.names()
        ['red', 'blue']
        >>> colours["bleu"]
        Traceback (most recent call last):
        litemill.errors.ConfigError: unknown colour 'bleu'; did you mean 'blue'?
    """

    def __init__(self, noun: str, group: str, record: type[Record], ours: Iterable[Record]) -> None:
        self.noun, self.group = noun, group
        self._type = record
        self._ours = {one.name: one for one in ours}
        self._loaded: dict[str, Record] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._others

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> Record:
        """The record of a name.

        Raises:
            ConfigError: There is none (the nearest name is offered, else all are listed), two packages claim the name,
                or the package that brings it cannot be used.
        """
        if name not in self:
            raise ConfigError(f"unknown {self.noun} {shown(name)}; {nearest(name, self.names())}")
        self._check_claims(name)
        if name in self._ours:
            return self._ours[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self._others[name][0])
        return self._loaded[name]

    def ours(self) -> list[str]:
        """Names of what Litemill brings. Reads no entry points."""
        return list(self._ours)

    def names(self) -> list[str]:
        """All names: ours in their order, then those of other packages by the alphabet. Loads nothing."""
        return [*self._ours, *sorted(set(self._others) - set(self._ours))]

    def records(self) -> list[Record]:
        """The records that can be used, in the order of `names`; what cannot be is left out with a warning."""
        found = []
        for name in self.names():
            try:
                found.append(self[name])
            except ConfigError as error:
                log.warning("%s", error)
        return found

    def brought_by(self, name: str) -> Origin:
        """The package that brought a record.

        Raises:
            ConfigError: There is no such name, or two packages claim it.
        """
        self._check_claims(name)
        if name in self._ours:
            return OURS
        if name not in self._others:
            raise ConfigError(f"unknown {self.noun} {shown(name)}; {nearest(name, self.names())}")
        return _origin(self._others[name][0])

    def code(self, name: str) -> list[str]:
        """What of another package's code stands behind a name, each as `package.module:name`; nothing for ours.

        Raises:
            ConfigError: As for the record itself.
        """
        record = self[name]
        if name in self._ours:
            return []
        values = vars(record).values()
        named = [value for value in values if isinstance(value, str) and REFERENCE.fullmatch(value)]
        return [self._others[name][0].value, *named]

    @cached_property
    def _others(self) -> dict[str, list[EntryPoint]]:
        """The entry points of the group by name; more than one where packages claim the same name."""
        found: dict[str, list[EntryPoint]] = {}
        for point in _installed(tuple(sys.path)).select(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def _check_claims(self, name: str) -> None:
        """Refuse a name that is not one package's alone: which one is meant would depend on the order of a path."""
        claims = [_origin(point) for point in self._others.get(name, [])]
        claims = [OURS, *claims] if name in self._ours else sorted(claims, key=str)
        if len(claims) > 1:
            what = f"{self.noun} {name!r} is claimed by {len(claims)} packages: {', '.join(map(str, claims))}"
            raise ConfigError(what, fix=f"Uninstall all but one of them, or have the name changed in {claims[-1]}")

    def _load(self, point: EntryPoint) -> Record:
        where = f"{self.noun} {point.name!r} of {_origin(point)}"
        try:
            found = point.load()
        except Exception as error:
            what = f"{point.value} cannot be imported ({first_line(error)})"
            raise ConfigError(what, where=where, fix="Repair or uninstall that package") from error
        if not isinstance(found, self._type):
            what = f"{point.value} is a {type(found).__name__}, not a {self._type.__module__}.{self._type.__name__}"
            raise ConfigError(what, where=where)
        if found.name != point.name:
            raise ConfigError(f"the record at {point.value} has another name, {found.name!r}", where=where)
        return found


@cache
def _installed(path: tuple[str, ...]) -> Any:
    """All entry points of the packages on Python's path: every installed package is read, once for all registries.

    What can `select` a group in them has another type in Python 3.11 than later.
    """
    return entry_points()


def load(reference: str) -> Any:
    """Import what `package.module:name` names.

    Raises:
        ConfigError: The module cannot be imported, or has nothing of that name.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a module does when it is imported
        raise ConfigError(f"cannot be imported ({first_line(error)})", where=reference) from error


def load_function(reference: str) -> Callable[..., Any]:
    """Import a function of a user's own, `package.module:function`, also from below the current folder.

    Raises:
        InputError: There is no such module, or no such function in it.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = load(reference)
    except ConfigError as error:
        raise InputError(error.what, where=reference) from error
    if not callable(found):
        raise InputError("is not a function", where=reference)
    return found  # type: ignore[no-any-return]


def _origin(point: EntryPoint) -> Origin:
    """The package an entry point is from."""
    if point.dist is None:
        return Origin("an unknown package", "")
    return Origin(point.dist.name, point.dist.version)
