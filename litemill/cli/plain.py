"""Texts as they are: what looks like rich's markup (`[/b]`) or an emoji (`:bug:`) in a path, a name or an error has no
meaning, a control character is shown and not sent to the terminal, and a secret is hidden. Whoever wants colours says
so with `styled`.
"""

from __future__ import annotations

import re
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from litemill.redact import redact

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Terminal codes, half characters, and marks that turn the direction of what follows."""


class PlainConsole(Console):
    """A console for which a text is nothing but text."""

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(file=file, stderr=stderr, width=width, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """What rich makes of any text: of a line, a cell, a title, a branch of a tree."""
        return super().render_str(shown_text(text), **options)


def shown_text(value: object) -> str:
    """Anything as a text fit for a terminal: secrets hidden, control characters as `\\x1b`."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", redact(str(value)))


def styled(*parts: object) -> Text:
    """A line of texts, some of them with a style: `styled("ship ", (winner, "bold"))`."""
    pairs = [part if isinstance(part, tuple) else (part, "") for part in parts]
    return Text.assemble(*((shown_text(text), str(style)) for text, style in pairs))
