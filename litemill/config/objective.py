"""The objective: what is minimised among the variants that a budget admits, such as `size` or `latency:host`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from litemill.config.base import nearest
from litemill.config.target_specs import Quantity
from litemill.errors import ConfigError, shown


class Costs(Protocol):
    """What a variant costs."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def gzip(self) -> int:
        """Bytes of the file, compressed."""

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one inference, where they are known."""

    def stored(self, target: str) -> int | None:
        """Bytes that a target stores of it, where that is known."""

    def arena(self, target: str) -> int | None:
        """Bytes of working memory on a target, where that is known."""

    def memory(self, target: str) -> int | None:
        """Peak memory on a target in bytes, where that is known."""

    def median_ms(self, target: str) -> float | None:
        """Its median latency on a target, where there is one that may be ranked."""


@dataclass(frozen=True)
class ObjectiveKind:
    """A quantity that may be minimised.

    Attributes:
        quantity: What is asked of a target; empty for a property of the file.
        value: Of a variant and a target.
        words: What is asked for; `{}` is the target.
        winner: What the best variant is called.
        unit: Of the value: `bytes`, `ms`, …
        axis: What it is called on an axis of the Pareto front; empty where it is on it already.
    """

    quantity: Quantity | None
    value: Callable[[Costs, str], float | None]
    words: str
    winner: str
    unit: str
    axis: str = ""


KINDS: dict[str, ObjectiveKind] = {
    "size": ObjectiveKind(None, lambda one, _: one.size, "smallest size", "smallest", "bytes"),
    "gzip": ObjectiveKind(
        None, lambda one, _: one.gzip, "smallest download (gzip)", "smallest download", "bytes compressed"
    ),
    "macs": ObjectiveKind(
        None,
        lambda one, _: one.macs,
        "fewest multiply-accumulates",
        "one with the fewest multiply-accumulates",
        "MACs",
        "multiply-accumulates",
    ),
    "size:": ObjectiveKind(
        "size",
        lambda one, target: one.stored(target),
        "smallest size stored on {}",
        "smallest on {}",
        "bytes stored",
        "stored bytes on {}",
    ),
    "latency:": ObjectiveKind(
        "latency",
        lambda one, target: one.median_ms(target),
        "lowest latency on {}",
        "fastest on {}",
        "ms",
        "latency on {}",
    ),
    "memory:": ObjectiveKind(
        "memory",
        lambda one, target: one.memory(target),
        "least peak memory on {}",
        "one with the least peak memory on {}",
        "bytes of peak memory",
        "peak memory on {}",
    ),
    "arena:": ObjectiveKind(
        "arena",
        lambda one, target: one.arena(target),
        "smallest arena on {}",
        "one with the smallest arena on {}",
        "bytes of arena",
        "arena on {}",
    ),
}
"""What may be minimised, by how a config begins it."""

OBJECTIVES = tuple(f"{name}<target>" if name.endswith(":") else name for name in KINDS)
"""How a config writes them."""


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        kind: A quantity: `size`, `latency`, `gzip`, `macs`, `memory` or `arena`.
        target: Whose; empty for a property of the file itself.
    """

    kind: str
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
        if f"{kind}{mark}" in KINDS and bool(mark) == bool(target):
            return cls(kind, target)
        if kind in KINDS and mark and target:
            raise ConfigError(f"{shown(text)}: {kind} is the same on every target; write {kind}")
        raise ConfigError(f"unknown objective {shown(text)}; {nearest(text, OBJECTIVES)}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else self.kind

    @property
    def asks(self) -> ObjectiveKind:
        """The quantity."""
        return KINDS[f"{self.kind}:" if self.target else self.kind]

    @property
    def quantity(self) -> Quantity:
        """What a target has to tell.

        Raises:
            LookupError: The objective is about the file.
        """
        if self.asks.quantity is None:
            raise LookupError(f"{self} is asked of no target")
        return self.asks.quantity

    def value(self, variant: Costs) -> float | None:
        """What is minimised of a variant, where it is known: bytes, ms, or a number."""
        return self.asks.value(variant, self.target)

    def written(self, value: float) -> str:
        """A value with its unit: `24,912 bytes`, `0.37 ms`."""
        number = f"{value:.3g}" if self.asks.unit == "ms" else f"{value:,.0f}"
        return f"{number} {self.asks.unit}"

    @property
    def words(self) -> str:
        """`smallest size`, `smallest size stored on ethos-u55-128`, `lowest latency on host`."""
        return self.asks.words.format(self.target)

    @property
    def winner(self) -> str:
        """What the best variant is: `smallest`, `fastest on host`."""
        return self.asks.winner.format(self.target)

    @property
    def axis(self) -> str:
        """What it adds to the axes of the Pareto front: nothing, or ` and latency on host`."""
        return f" and {self.asks.axis.format(self.target)}" if self.asks.axis else ""
