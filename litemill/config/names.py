"""Names in a config: what they are made of, and that two of them stay two once they name tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from litemill.errors import shown

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
LONGEST = 63
"""Characters of a name: Kubernetes takes no more in a label, and names become parts of tasks, files and labels."""


def plain_name(name: str, what: str = "a name") -> str:
    """Return a name that tasks, files and labels can bear.

    Args:
        name: As it was written.
        what: What it names, for the message.

    Raises:
        ValueError: It has other characters, or too many.
    """
    if not NAME.fullmatch(name):
        words = "letters, digits, '.', '_' and '-' only, a letter or digit first and last"
        raise ValueError(f"{what} {shown(name)}: {words}")
    if len(name) > LONGEST:
        raise ValueError(f"{what} {shown(name)} has {len(name)} characters; {LONGEST} are the most")
    return name


def slug(text: str) -> str:
    """Text as Kubeflow allows it in a name: lower case, digits and single hyphens."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())


def file_name(text: str) -> str:
    """Text fit for a file name or the name of a metric: `ssh://pi@host` becomes `ssh_pi_host`."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")


def distinct(names: Iterable[str], what: str) -> None:
    """Refuse two names that tasks and labels cannot tell apart.

    Raises:
        ValueError: With both names.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(slug(name), name)
        if other != name:
            both = f"{what} {other!r} and {name!r} are both {slug(name)!r}"
            raise ValueError(f"{both} in lower case with hyphens, which is how tasks are named; rename one")
