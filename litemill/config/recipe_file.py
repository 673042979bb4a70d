"""A recipe of litert-quantizer's, brought by the user: read once, checked, and carried as text from then on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

MOST_CHARACTERS = 32_000
"""A recipe travels in a task's arguments, which the kernel limits."""
KEYS = ("regex", "operation", "algorithm_key", "op_config")
"""What each rule has."""


def read_recipe(path: str) -> str:
    """The rules in a recipe file, as JSON in one line.

    Raises:
        ValueError: It cannot be read, or is no recipe.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise ValueError(f"recipe_file {path}: cannot be read: {reason}") from None
    try:
        return checked(text)
    except ValueError as error:
        raise ValueError(f"recipe_file {path}: {error}") from None


def checked(text: str) -> str:
    """A recipe's text, as JSON in one line.

    Raises:
        ValueError: It is no recipe of litert-quantizer's.
    """
    try:
        rules = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(rules, list) or not rules:
        raise ValueError("is not a list of rules, as Quantizer.get_quantization_recipe() gives it")
    for place, rule in enumerate(rules, start=1):
        _check_rule(rule, f"rule {place}")
    found = json.dumps(rules, separators=(",", ":"))
    if len(found) > MOST_CHARACTERS:
        raise ValueError(f"has {len(found):,} characters, {MOST_CHARACTERS:,} is the most")
    return found


def _check_rule(rule: Any, where: str) -> None:
    if not isinstance(rule, dict):
        raise ValueError(f"{where} is not a mapping with {', '.join(KEYS)}")
    for key in KEYS:
        if key not in rule and not (key == "op_config" and rule.get("algorithm_key") == "no_quantize"):
            raise ValueError(f"{where} has no {key!r}")
    if unknown := sorted(set(rule) - set(KEYS)):
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; there are {', '.join(KEYS)}")
    if not all(isinstance(rule[key], str) for key in KEYS[:3]) or not isinstance(rule.get("op_config", {}), dict):
        raise ValueError(f"{where}: regex, operation and algorithm_key are texts, op_config is a mapping")
    try:
        re.compile(rule["regex"])
    except re.error as error:
        raise ValueError(f"{where}: regex {rule['regex']!r} is none ({error})") from None
