"""The objective: what is minimised among the variants that a budget admits, such as `size` or `latency:host`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from litemill.config.base import nearest
from litemill.errors import ConfigError, shown

OBJECTIVES = ("size", "size:<target>", "latency:<target>")
"""Bytes of the file, bytes that a target stores, or a target's median latency."""


class Costs(Protocol):
    """What a variant costs."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def stored(self, target: str) -> int | None:
        """Bytes that a target stores of it, where that is known."""

    def median_ms(self, target: str) -> float | None:
        """Its median latency on a target, where there is one that may be ranked."""


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        kind: Bytes or time.
        target: Whose; empty for the bytes of the file itself.
    """

    kind: Literal["size", "latency"]
    target: str = ""

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read an objective as a config has it.

        Raises:
            ConfigError: It is none (the nearest is offered).

        Example:
            >>> Objective.parse("latency:host")
            Objective(kind='latency', target='host')
        """
        kind, mark, target = text.partition(":")
        if kind == "size" and bool(mark) == bool(target):
            return cls("size", target)
        if kind == "latency" and target:
            return cls("latency", target)
        raise ConfigError(f"unknown objective {shown(text)}; {nearest(text, OBJECTIVES)}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else self.kind

    def value(self, variant: Costs) -> float | None:
        """What is minimised of a variant, where it is known: bytes, or ms."""
        if self.kind == "latency":
            return variant.median_ms(self.target)
        return variant.stored(self.target) if self.target else variant.size

    @property
    def words(self) -> str:
        """`smallest size`, `smallest size stored on ethos-u55-128`, `lowest latency on host`."""
        if self.kind == "latency":
            return f"lowest latency on {self.target}"
        return f"smallest size stored on {self.target}" if self.target else "smallest size"

    @property
    def axis(self) -> str:
        """What it adds to the axes of the Pareto front: nothing, or ` and latency on host`."""
        if not self.target:
            return ""
        return f" and {'latency' if self.kind == 'latency' else 'stored bytes'} on {self.target}"
