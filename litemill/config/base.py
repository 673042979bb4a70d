"""What every part of a config is made of: a model that refuses unknown keys, and mistakes as one sentence."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from litemill.errors import nearest as nearest


class Section(BaseModel):
    """A part of the config, or the options of something named in it: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def first_mistake(error: ValidationError, options: type[BaseModel]) -> str:
    """Say the first thing wrong with a set of options, with the nearest valid spelling for an unknown one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(options.model_fields)
        return f"unknown option {key!r}; {nearest(key, known) if known else 'it takes none'}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"
