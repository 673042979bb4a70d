"""A converter's refusal in one line: which op of which layer has no counterpart, not how MLIR came to see it."""

from __future__ import annotations

import re

from litemill.errors import LitemillError

LONGEST = 240
ILLEGAL = re.compile(r"'(tf\.\w+)' op (?:is neither a custom op nor a flex op|requires|must)|operation '(tf\.\w+)'")
NEEDED = re.compile(r"(?:Flex|Select|Custom|custom) ops?: ([^\n]+)")
LAYER = re.compile(r'fused\["(\w+):", "([^"@]+)')
"""An op and its place in the graph, as MLIR writes locations: the path of the layers that it is in."""
TRACE = re.compile(r"^in user code|^File |^lambda |.*:$")
"""Lines of a traceback inside a message of TensorFlow's."""
WRAPPERS = re.compile(r"^(Stateful)?PartitionedCall(_\d+)?$|^import$|^model(_\d+)?$|^sequential(_\d+)?$")


def refusal(error: BaseException) -> str:
    """Why something cannot be converted, in one line.

    Args:
        error: As TFLite's converter, its quantizer or TensorFlow raised it.
    """
    text = str(error)
    if isinstance(error, LitemillError):
        return text
    ops = sorted({name for found in ILLEGAL.findall(text) for name in found if name})
    if ops:
        return f"TFLite has no operation for {', '.join(ops)}{_layers(text)}"
    if needed := NEEDED.search(text):
        return f"TFLite has no operation for {_short(needed[1])}{_layers(text)}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("loc(")]
    first = next((line for line in lines if not TRACE.match(line)), "")
    if first.startswith(f"{type(error).__name__}: "):
        return _short(first)
    return f"{type(error).__name__}: {_short(first)}" if first else type(error).__name__


def _layers(text: str) -> str:
    """The layer that an op is in, as far as the places name it."""
    for _, place in LAYER.findall(text):
        parts = [part for part in place.split("/") if not WRAPPERS.match(part)]
        if len(parts) > 1:
            return f" (layer {parts[0]!r})"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2].rstrip()} …"
