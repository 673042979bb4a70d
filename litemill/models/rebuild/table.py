"""The table of ops that can be rebuilt: each op's type and the function that makes its layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from litemill.models.rebuild.graph import Op

if TYPE_CHECKING:
    from litemill.models.rebuild.builder import Builder

Make = Callable[["Builder", Op], None]
"""Puts what an op computes among the builder's values."""

TABLE: dict[str, Make] = {}
"""By the op's type; the modules of `litemill.models.rebuild.ops` fill it."""


def rebuilds(*names: str) -> Callable[[Make], Make]:
    """Enter a function into the table for ops of these types."""

    def enter(make: Make) -> Make:
        TABLE.update(dict.fromkeys(names, make))
        return make

    return enter
