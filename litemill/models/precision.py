"""Models of mixed precision as float32 ones: their variables are float32, and only their layers compute in less."""

from __future__ import annotations

from typing import Any

from litemill.models.facts import FLOAT, MIXED


def in_float32(model: Any) -> Any:
    """The same model, of either version of Keras, with layers that compute in float32; itself where they all do.

    Args:
        model: A built functional or Sequential model.
    """
    config = model.get_config()
    changed = _in_float32(config)
    if changed == config:
        return model
    rebuilt = type(model).from_config(changed)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _in_float32(value: Any) -> Any:
    """A configuration with every policy and type of less precision replaced."""
    if isinstance(value, list | tuple):
        return type(value)(_in_float32(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("Policy", "DTypePolicy", "FloatDTypePolicy") and _is_less(
        value["config"].get("name")
    ):
        return value | {"config": {"name": FLOAT}}
    return {key: FLOAT if key == "dtype" and _is_less(item) else _in_float32(item) for key, item in value.items()}


def _is_less(name: Any) -> bool:
    return isinstance(name, str) and (name in MIXED or name.startswith("mixed_"))
