"""Run a `.tflite`. Needs no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litemill.runtime.runner import Runner

__all__ = ["Runner"]


def __getattr__(name: str) -> object:
    """Load `Runner` when it is first used: the program that measures microcontrollers does without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from litemill.runtime import runner

    return getattr(runner, name)
