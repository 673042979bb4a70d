"""The errors a user meets: what happened, where, and what to do about it."""

from __future__ import annotations

import difflib
import re
import reprlib
import traceback
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from litemill.redact import redact

LONGEST_SHOWN = 80
"""Characters of a user's own text that are repeated in a message."""
MOST_COMPARED, MOST_LISTED = 1000, 30
"""Known names that a misspelt one is compared with, and that are listed."""


class LitemillError(Exception):
    """An error whose message is meant for the user: one line, no traceback needed, without secrets.

    Args:
        what: What is wrong, as one sentence without a final full stop.
        where: The file, key, line, layer or device it is about.
        fix: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        stop = "" if text.endswith(("?", "!")) else "."
        return redact(f"{text}{stop} {self.fix}" if self.fix else text)


class ConfigError(LitemillError):
    """A run config, an option or a command line is wrong."""

    exit_code = 2


class InputError(LitemillError):
    """A model, a data set or another file that came in cannot be used."""

    exit_code = 2


class StepFailed(LitemillError):
    """A recipe cannot work, or did not do what it was asked: it becomes a failed entry with this reason."""


class DeviceError(LitemillError):
    """A target is missing, unreachable or answered wrongly: its measurement fails, the others go on."""


NOISE = re.compile(
    r"[\W_]*$"  # rules and carets
    r"|Graph execution error\W*$|in user code\W*$|Traceback \(most recent call last\)|Detected at node |File \"|Node: '"
    r"|Exception encountered when calling |(Call a|A)rguments received by |<stack traces? unavailable>"
    r"|During handling of the above exception|The above exception was the direct cause"
    r"|Original stack trace for |Errors? may have originated from |Input Source operations connected to node "
)
"""Beginnings of lines that Python, TensorFlow and Keras put before what happened."""
LAYER = re.compile(r"Exception encountered when calling layer ['\"](?P<name>.+?)['\"] \(type (?P<kind>\w+)\)")
TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
GRAPH = re.compile(r"\{\{function_node [^}]*\}\}\s*|\s*\[Op:\w+\].*$|\s*\[\[\{\{node [^}]*\}\}.*$")
"""Internal names of a graph, which mean nothing to a user."""
LONGEST = 400
"""Characters of a line that are shown: the converter puts whole graphs into one."""


def first_line(error: BaseException | str) -> str:
    """The line of an exception's text that says what happened, for a message of one line.

    TensorFlow and Keras write headings before it (`Graph execution error:`, a stack, a rule of dashes); the layer
    that a heading names is kept. An exception without a text is called by its type.

    Args:
        error: The exception, or its text.

    Example:
        >>> first_line("Graph execution error:\\n\\nindices[0,3] = -1 is not in [0, 2000)\\n\\t [[{{node a/b}}]]")
        'indices[0,3] = -1 is not in [0, 2000)'
    """
    layer, found, source = "", "", False
    for written in TERMINAL.sub("", str(error)).splitlines():
        line = GRAPH.sub("", written).strip()
        named = LAYER.match(line)
        layer = f"layer {named['name']} ({named['kind']}): " if named else layer
        # The line after a file's name is that of the source.
        if not source and not NOISE.match(line):
            found = line
            break
        source = line.startswith('File "')
    if not found:
        found = "" if isinstance(error, str) else type(error).__name__
    text = f"{layer}{found}"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class _Shown(reprlib.Repr):
    """A short `repr`, whatever the size of what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONGEST_SHOWN
        self.maxlevel = 2


def shown(value: object) -> str:
    """A value as a message repeats it: its `repr`, cut where it is long or deep."""
    text = _Shown().repr(value)
    return text if len(text) <= 2 * LONGEST_SHOWN else f"{text[: 2 * LONGEST_SHOWN]}…"


FAULTS = (AttributeError, LookupError, TypeError, NameError, AssertionError, ArithmeticError)
"""What Python raises where a program is wrong."""
PACKAGE = Path(__file__).parent


def own_fault(error: BaseException) -> str:
    """Where in Litemill an error was raised that only a fault of its own explains; else empty.

    A library refuses an input by whatever it likes, a `KeyError` too, but then one of its own frames raises it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not isinstance(error, FAULTS) or not frames or not Path(frames[-1].filename).is_relative_to(PACKAGE):
        return ""
    return f"{Path(frames[-1].filename).relative_to(PACKAGE.parent)}:{frames[-1].lineno}"


def nearest(name: str, known: Sequence[str]) -> str:
    """Return `did you mean …?` with the known name closest to `name`, or the list of what there is.

    Bounded: a file may have a thousand columns, and a name may be as long as the file.
    """
    few = [str(one)[:LONGEST_SHOWN] for one in islice(known, MOST_COMPARED)]
    close = difflib.get_close_matches(str(name)[:LONGEST_SHOWN], few, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" … and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    # A name may hold a line break: that of a column behind a quote that is never closed.
    return f"known: {', '.join(' '.join(one.split()) for one in few[:MOST_LISTED])}{more}"
