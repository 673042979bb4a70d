"""The vocabulary of targets: what a config may name as a place to run a variant."""

from __future__ import annotations

from litemill.steps import nearest

TARGETS: dict[str, str] = {
    "host": "this machine: LiteRT with XNNPACK, in a process of its own",
}
"""What each target is, by name."""


def parse_target(name: str) -> str:
    """Check the name of a target.

    Returns:
        The name.

    Raises:
        ValueError: There is no such target (pydantic reports it with its place).
    """
    if name not in TARGETS:
        raise ValueError(f"unknown target {name!r}; {nearest(name, list(TARGETS))}")
    return name
