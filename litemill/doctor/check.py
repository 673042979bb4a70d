"""Is a run config right, and are its data and its model there and fit for each other?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from litemill.config.run import RunSpec
from litemill.config.written import spec_of
from litemill.doctor.preflight import preflight
from litemill.evidence.base import Evidence


class Checked(Evidence):
    """What is known of a run before any compute."""

    name: str
    recipes: int
    input_shape: list[int]
    inputs: dict[str, list[int]] = Field(default_factory=dict, description="shape by input, of several")
    dtype: str
    classes: int
    samples: dict[str, int]
    warnings: list[str]


def check(config: RunSpec | Mapping[str, Any] | str | Path) -> Checked:
    """Read a run config and look at the sources it names; nothing is computed.

    Args:
        config: A YAML file, a spec, or a mapping as YAML has it.

    Returns:
        What the data is, and warnings of what will not work.

    Raises:
        ConfigError: Something in the config is wrong; one line for each mistake.
        InputError: A source is missing or broken, or the model's input differs from the data's.

    Example:
        >>> import litemill as lm
        >>> found = lm.check("digits.yaml")
        >>> found.input_shape, found.warnings
        ([8, 8, 1], [])
    """
    spec = spec_of(config)
    facts = preflight(spec)
    return Checked(
        name=spec.name,
        recipes=len(spec.recipes),
        input_shape=list(facts.input_shape),
        inputs={name: list(shape) for name, shape in facts.inputs.items()},
        dtype=facts.dtype,
        classes=facts.classes,
        samples=facts.samples,
        warnings=facts.warnings,
    )
