"""Read YAML that a stranger may have written: bounded in size, depth and aliases, no key twice, no tag but plain ones.

PyYAML alone lets the later of two equal keys win, raises a dozen kinds of errors, and expands aliases without a limit.
"""

from __future__ import annotations

import codecs
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from litemill.errors import ConfigError, shown

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml: the same, slower
    from yaml import SafeLoader  # type: ignore[assignment]

MOST_BYTES = 1 << 20
DEEPEST = 24
MOST_VALUES = 50_000
"""Keys and values of a config once its aliases are expanded: a real one has some hundred."""
LONGEST_NUMBER = 400
"""Characters of a number: the largest double, written out, has 309 digits."""
FLOAT = re.compile(
    r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)e[-+]?\d+$|[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)$|[-+]?\.(inf|nan)$", re.I
)
"""Floats as everybody writes them: YAML 1.1 takes `1e-4` for a text."""
INT = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][\d_]*)$")
"""Whole numbers, without YAML 1.1's `12:30`, which is 750, and `010`, which is 8."""
YAML = "tag:yaml.org,2002:"
INT_TAG, FLOAT_TAG, TEXT_TAG, MERGE_TAG = f"{YAML}int", f"{YAML}float", f"{YAML}str", f"{YAML}merge"
TAGS = (INT_TAG, FLOAT_TAG, TEXT_TAG, MERGE_TAG, f"{YAML}null", f"{YAML}bool", f"{YAML}map", f"{YAML}seq")


class _Loader(SafeLoader):
    """Values are texts, numbers, true and false, null, lists and mappings; a date stays the text it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in TAGS and tag not in (INT_TAG, FLOAT_TAG)]
    for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
}
for _first in "-+.0123456789":
    _Loader.yaml_implicit_resolvers.setdefault(_first, []).extend([(FLOAT_TAG, FLOAT), (INT_TAG, INT)])


@dataclass(frozen=True)
class Written:
    """What a YAML file holds.

    Attributes:
        value: As Python's own types.
        root: The same as YAML's nodes, which know their lines.
    """

    value: Any
    root: yaml.Node | None

    def line(self, location: tuple[int | str, ...]) -> int:
        """The 1-based line of a place: of its key where there is one, else of the nearest parent."""
        node = self.root
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
        return int(line) + 1


def read_yaml(path: Path) -> Written:
    """Read a YAML file.

    Raises:
        ConfigError: It cannot be read, is not text in UTF-8, or not YAML of plain values within the limits.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError("is not a file", where=shown_path(path), fix="Give the path of a YAML file")
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the config ({reason})", where=shown_path(path)) from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"is larger than {MOST_BYTES:,} bytes, which no run config is", where=shown_path(path))
    return parse_yaml(_decoded(content, shown_path(path)), shown_path(path))


def parse_yaml(text: str, where: str) -> Written:
    """Read YAML out of a text.

    Args:
        text: The YAML.
        where: How to point a user at it.

    Raises:
        ConfigError: It is not YAML of plain values within the limits.
    """
    try:
        _check_depth(text, where)
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _check(root, where)
        return Written(_Loader("").construct_document(root) if root is not None else None, root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"not valid YAML: {str(error.problem)[:200]}", where=f"{where}:{line}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else "?"
        raise ConfigError(f"not valid YAML: {error.reason}", where=f"{where}:{line}") from None


def shown_path(path: Path) -> str:
    """A path as a message begins with it."""
    text = str(path)
    return text if text.isprintable() and len(text) <= 1000 else shown(text)


MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Beginnings of files in other encodings, the longest first."""


def _decoded(content: bytes, where: str) -> str:
    """The text of a file."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise ConfigError(f"is encoded as {encoding}", where=f"{where}:1", fix="Save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"byte {content[error.start]:#04x} is not UTF-8"
        raise ConfigError(what, where=f"{where}:{line}", fix="Save the file as UTF-8") from None
    for at, letter in enumerate(text):
        if not letter.isprintable() and letter not in "\n\r\t" and _is_control(letter):
            line = text.count("\n", 0, at) + 1
            what = f"holds the control character U+{ord(letter):04X}"
            raise ConfigError(what, where=f"{where}:{line}", fix="Remove it")
    return text


def _is_control(letter: str) -> bool:
    return ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 or 0xD800 <= ord(letter) <= 0xDFFF


def _check_depth(text: str, where: str) -> None:
    """Refuse lists and mappings within each other beyond what a config can need, before anything recurses into them."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise ConfigError(f"is nested more than {DEEPEST} levels deep", where=f"{where}:{line}")


def _check(root: yaml.Node, where: str) -> None:
    """Refuse what PyYAML would take: keys that come twice, tags, too many values."""
    sizes: dict[int, int] = {}
    for node in _children_first(root, where):
        at = f"{where}:{node.start_mark.line + 1}"
        if node.tag not in TAGS:
            raise ConfigError(f"the tag {shown(node.tag)} is not one of plain YAML", where=at, fix="Leave it out")
        size = 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, where)
            size += sum(sizes[id(key)] + sizes[id(value)] for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(sizes[id(item)] for item in node.value)
        else:
            _check_scalar(node, at)
        if size > MOST_VALUES:
            raise ConfigError(f"holds more than {MOST_VALUES:,} values with its aliases expanded", where=at)
        sizes[id(node)] = size


def _children_first(root: yaml.Node, where: str) -> Iterator[yaml.Node]:
    """Every node once, after what it holds."""
    done: set[int] = set()
    open_: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, left = stack.pop()
        if left:
            open_.discard(id(node))
            done.add(id(node))
            yield node
            continue
        if id(node) in done:
            continue
        if id(node) in open_:
            raise ConfigError("an alias holds itself", where=f"{where}:{node.start_mark.line + 1}")
        open_.add(id(node))
        stack.append((node, True))
        if isinstance(node, yaml.MappingNode):
            stack += [(part, False) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(item, False) for item in node.value]


def _check_keys(node: yaml.MappingNode, where: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("a key is a name, not a list or a mapping", where=f"{where}:{line}")
        if key.value in lines:
            what = f"the key {shown(key.value)} is there twice, first in line {lines[key.value]}"
            raise ConfigError(what, where=f"{where}:{line}", fix="Keep one of them")
        lines[key.value] = line
        if key.tag not in (TEXT_TAG, MERGE_TAG):
            key.tag = TEXT_TAG  # a key `on:` or `8:` is the name that was written


def _check_scalar(node: yaml.Node, at: str) -> None:
    """Construct a value alone, where what does not parse has its line."""
    text = str(node.value)
    if bad := next((letter for letter in text if letter not in "\n\r\t" and _is_control(letter)), ""):
        raise ConfigError(f"{shown(text)} holds the control character U+{ord(bad):04X}", where=at, fix="Remove it")
    if node.tag in (TEXT_TAG, MERGE_TAG):
        return
    kind = node.tag.rpartition(":")[2]
    try:
        if len(text) > LONGEST_NUMBER:
            _refuse(text, kind, at)
        _Loader("").construct_object(node)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, yaml.YAMLError):
        _refuse(text, kind, at)


def _refuse(text: str, kind: str, at: str) -> NoReturn:
    raise ConfigError(f"{shown(text)} cannot be read as {kind}", where=at, fix="Put a text in quotes")
