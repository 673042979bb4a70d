"""The ops by what they do; importing this enters all of them into the table."""

from __future__ import annotations

from litemill.models.rebuild.ops import (
    activations,
    arithmetic,
    convolutions,
    dense,
    dilated,
    pools,
    resizing,
    shapes,
    slices,
    volumes,
)

__all__ = [
    "activations",
    "arithmetic",
    "convolutions",
    "dense",
    "dilated",
    "pools",
    "resizing",
    "shapes",
    "slices",
    "volumes",
]
