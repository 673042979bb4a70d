"""What every part of a config is made of: a model that refuses unknown keys and what only looks like a number."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from litemill.errors import nearest as nearest
from litemill.errors import shown

LONGEST_TEXT = 4096
"""Characters of a text in a config, which is what Linux takes as a path."""
LARGEST_WHOLE = 2**53
"""Kubeflow carries every number as a double: larger whole numbers would come back as others."""
LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""


class Section(BaseModel):
    """A part of the config, or the options of something named in it. Unknown keys are refused.

    So is, for all of its fields and those of every subclass: `true` or a text as a number, a number as `true`, NaN,
    infinity, whole numbers that a double cannot hold and texts longer than a path can be. A whole number may come as
    `8.0`, which is what Kubeflow makes of 8.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=LONGEST_TEXT)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make the fields' numbers strict."""
        schema = handler(source)
        inner = schema
        while "fields" not in inner:  # validators of the whole model lie around its fields
            if "schema" not in inner:
                return schema
            inner = inner["schema"]
        for name, field in inner["fields"].items():
            inner["fields"][name] = _strict(field)
        return schema


def _strict(schema: Any) -> Any:
    """A field's schema in which each number and each switch is strict; parts that are models are so already."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict) or schema.get("type") in ("model", "definition-ref"):
        return schema
    if schema.get("type") == "int":
        top = {} if {"le", "lt"} & set(schema) else {"le": LARGEST_WHOLE}
        low = {} if {"ge", "gt"} & set(schema) else {"ge": -LARGEST_WHOLE}
        return core_schema.no_info_before_validator_function(_whole, {**schema, **top, **low, "strict": True})
    if schema.get("type") in ("float", "bool"):
        return {**schema, "strict": True}
    inside = ("schema", "items_schema", "keys_schema", "values_schema", "choices")
    return {key: _strict(value) if key in inside else value for key, value in schema.items()}


def _whole(value: Any) -> Any:
    """A whole number that travelled as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def first_mistake(error: ValidationError, options: type[BaseModel]) -> str:
    """Say the first thing wrong with a set of options, with the nearest valid spelling for an unknown one."""
    found = error.errors(include_url=False)
    first = min(found, key=lambda item: item["type"] != "extra_forbidden")  # a typo is why another is missing
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(options.model_fields)
        return f"unknown option {shown(key)}; {nearest(key, known) if known else 'it takes none'}"
    return f"{key}: {mistake(first)}"


def mistake(item: Any) -> str:
    """What one of pydantic's errors says, and what was written where a value is of another type."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] in ("int_type", "float_type", "bool_type", "string_type", "int_from_float"):
        return f"{message}, not {shown(item['input'])}"
    return message


def _plain_address(value: str) -> str:
    """Refuse what no file system and no storage takes as an address."""
    if not value.isprintable():
        raise ValueError(f"{shown(value)} has characters that cannot be printed; an address is plain text")
    long = next((part for part in value.split("/") if len(part.encode()) > LONGEST_NAME), "")
    if long:
        raise ValueError(f"{shown(long)} is longer than the {LONGEST_NAME} bytes that a file's name may have")
    return value


Address = Annotated[str, AfterValidator(_plain_address)]
"""A path or the address of an object: printable, and no part of it longer than a file system takes."""
