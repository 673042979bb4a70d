"""Read a run config from YAML: every mistake is told with its file, line, key and the nearest valid spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from litemill.config.base import nearest
from litemill.config.run import RunSpec
from litemill.errors import ConfigError


def load_config(path: Path) -> RunSpec:
    """Read and validate a run config.

    Args:
        path: A YAML file.

    Raises:
        ConfigError: The file is missing, is no YAML mapping, or breaks the schema; one line for each mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the config ({error.strerror})", where=str(path)) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        written = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from None
    if not isinstance(written, dict):
        raise ConfigError("a run config is a mapping with name, model, data, recipes …", where=str(path))
    try:
        return RunSpec.model_validate(written)
    except ValidationError as error:
        message = [f"{path}:{_line(root, item['loc'])}: {_tell(item)}" for item in error.errors()]
        raise ConfigError("\n".join(message)) from None


def _tell(item: Any) -> str:
    """One pydantic error as a sentence that names the key and, for an unknown one, the nearest that exists."""
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {nearest(str(item['loc'][-1]), _keys_at(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"missing key {key!r}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema has at a place."""
    model: type[BaseModel] = RunSpec
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return list(model.model_fields)


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """The 1-based line of a place in the YAML tree: of its key where there is one, else of the nearest parent."""
    line = node.start_mark.line if node else 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1
