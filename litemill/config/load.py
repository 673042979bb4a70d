"""Read a run config from YAML: every mistake is reported with its file, line, key and the nearest valid spelling."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from litemill.config.base import mistake, nearest
from litemill.config.plain_yaml import read_yaml, shown_path
from litemill.config.run import RunSpec
from litemill.config.secrets import WITHOUT_SECRETS, secret_in, told_of_secret
from litemill.errors import ConfigError, shown

KEY = re.compile(rf"([a-z_]+(\.[A-Za-z0-9_-]+)+|({'|'.join(RunSpec.model_fields)})(?=:? ))")
MOST_MISTAKES = 20
"""Mistakes that are listed; a file that is no run config at all has thousands."""


def load_config(path: str | Path) -> RunSpec:
    """Read and validate a run config.

    Args:
        path: A YAML file.

    Raises:
        ConfigError: The file is missing, is not a YAML mapping, or breaks the schema; one line for each mistake.

    Example:
        >>> import litemill as lm
        >>> spec = lm.load_config("digits.yaml")
        >>> spec.name, list(spec.recipes)
        ('digits', ['int8'])
    """
    path = Path(path)
    written = read_yaml(path)
    where = shown_path(path)
    if not isinstance(written.value, dict):
        raise ConfigError("a run config is a mapping with name, model, data, recipes …", where=where)
    if (place := secret_in(written.value)) is not None:
        raise ConfigError(told_of_secret(place), where=f"{where}:{written.line(place)}", fix=WITHOUT_SECRETS)
    try:
        return RunSpec.model_validate(written.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        message = [f"{where}:{written.line(_place(item))}: {_message(item)}" for item in found[:MOST_MISTAKES]]
        if len(found) > MOST_MISTAKES:
            message.append(f"{where}: … and {len(found) - MOST_MISTAKES} more mistakes")
        raise ConfigError("\n".join(message)) from None


def read_spec(written: Mapping[str, Any]) -> RunSpec:
    """Validate a run config that was built in Python.

    Args:
        written: What the YAML file would say.

    Raises:
        ConfigError: It breaks the schema; one line for each mistake.
    """
    try:
        return RunSpec.model_validate(written)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise ConfigError("\n".join(map(_message, found[:MOST_MISTAKES]))) from None


def _place(item: Any) -> tuple[int | str, ...]:
    """Where in the config a mistake is; one of the whole config begins with its key."""
    key = KEY.match(mistake(item)) if not item["loc"] else None
    return tuple(key[0].split(".")) if key else tuple(item["loc"])


def _message(item: Any) -> str:
    """One pydantic error as a sentence that names the key and, for an unknown one, the nearest that exists."""
    key = ".".join(_short(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _keys_at(item["loc"][:-1])
        return f"unknown key {key!r}; {nearest(str(item['loc'][-1]), known) if known else 'it takes none'}"
    if item["type"] == "missing":
        return f"missing key {key!r}"
    message = mistake(item)
    return f"{key}: {message}" if key else message


def _short(part: int | str) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) < 100 else shown(text)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema has at a place."""
    place: Any = RunSpec
    for part in location:
        place = _inside(place, part)
    models = [one for one in _alternatives(place) if isinstance(one, type) and issubclass(one, BaseModel)]
    return list(models[0].model_fields) if models else []


def _inside(annotation: Any, part: int | str) -> Any:
    """The type of what a value of that type holds under a key or at a position."""
    for one in _alternatives(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            field = one.model_fields.get(str(part))
            return field.annotation if field else None
        inner = get_args(one)
        if get_origin(one) in (dict, list, tuple) and inner:
            return inner[1] if get_origin(one) is dict else inner[0]
    return None


def _alternatives(annotation: Any) -> list[Any]:
    """The types that an annotation allows."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [one for part in get_args(annotation) for one in _alternatives(part)]
    return [annotation]
