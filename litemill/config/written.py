"""What a user writes in Python: a section, or the mapping that a YAML file would have in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from litemill.config.base import Section, first_mistake
from litemill.config.load import load_config, read_spec
from litemill.config.run import ModelSpec, RunSpec
from litemill.config.steps import Step, parse_step
from litemill.errors import ConfigError

AnyStep = Step | str | Mapping[str, Any]
"""A step as YAML has it: `int8`, or `{prune: {sparsity: 0.5}}`."""

Part = TypeVar("Part", bound=Section)


def section_of(section: type[Part], written: Part | Mapping[str, Any] | None, where: str) -> Part:
    """A section of the config from what was written for it; its defaults for None.

    Args:
        section: Which one.
        written: The section itself, or a mapping with its keys.
        where: Its name in an error.

    Raises:
        ConfigError: A key is unknown (the nearest is offered) or a value does not fit.
    """
    if isinstance(written, section):
        return written
    try:
        return section.model_validate({} if written is None else written)
    except ValidationError as error:
        raise ConfigError(first_mistake(error, section), where=where) from None


def model_of(written: ModelSpec | Mapping[str, Any] | str | Path) -> ModelSpec:
    """The model section from an address, a path, or a mapping with its keys.

    Raises:
        ConfigError: A key is unknown or a value does not fit.
    """
    return section_of(ModelSpec, {"uri": str(written)} if isinstance(written, str | Path) else written, "model")


def spec_of(config: RunSpec | Mapping[str, Any] | str | Path) -> RunSpec:
    """A run config from a YAML file, from a mapping as YAML has it, or from the spec itself.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong; one line for each mistake.
    """
    if isinstance(config, RunSpec):
        return config
    return load_config(Path(config)) if isinstance(config, str | Path) else read_spec(config)


def step_of(written: AnyStep, where: str = "step") -> Step:
    """A step from its name or from its name with options.

    Raises:
        ConfigError: The step or one of its options is unknown (the nearest is offered), or a value does not fit.
    """
    try:
        return parse_step(dict(written) if isinstance(written, Mapping) else written)
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"].removeprefix("Value error, "), where=where) from None
    except ValueError as error:
        raise ConfigError(str(error), where=where) from None


def recipes_of(written: Mapping[str, Sequence[AnyStep] | AnyStep]) -> dict[str, list[Step]]:
    """Recipes from lists of steps by name; one step alone stands for a list of it.

    Raises:
        ConfigError: A step is unknown, or one of its options is.
    """
    recipes = {}
    for name, steps in written.items():
        listed = [steps] if isinstance(steps, str | Step | Mapping) else steps
        recipes[name] = [step_of(step, f"recipe {name}") for step in listed]
    return recipes
