"""Choose which weights become look-up tables: the smallest file whose arena keeps to a limit, or to a rule.

Each weight in tables makes the file smaller and is decoded into the arena when an op needs it, so flash is saved at
the cost of working memory: little for a convolution, the whole layer for a large dense one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from litemill.errors import StepFailed, first_line
from litemill.flatbuffer.reader import parse_model
from litemill.runtime.micro import fits, smallest_arena
from litemill.slim.lut_plan import GRAPH_BYTES, Table, candidates, holds_tables
from litemill.slim.rewrite import slim
from litemill.slim.sharing import pack_shared

DOUBTFUL = 4 * GRAPH_BYTES
"""Saving below which it is tried whether a file gets smaller without the table."""

TOO_SMALL = "the file is too small to gain: tables and their ops take what the weights save"

Build = Callable[[Sequence[Table]], bytes]


@dataclass
class Choice:
    """A file with look-up tables."""

    data: bytes
    tables: list[Table]
    left: dict[str, str] = field(default_factory=dict)
    """Weights that stay as they are, and why."""
    arena: int = 0
    """Bytes of the smallest arena that it works in."""
    plain_arena: int = 0


class NothingGained(StepFailed):
    """No file with tables is worth having; `left` tells about each weight."""

    def __init__(self, reason: str, left: dict[str, str]) -> None:
        super().__init__(reason)
        self.left = left


def build(data: bytes, tables: Sequence[Table], keep: frozenset[str]) -> bytes:
    """A slimmed copy of a file in which these weights are look-up tables.

    Args:
        data: The plain file.
        tables: From `candidates` of this very file.
        keep: What slimming keeps of names, signatures and metadata.

    Raises:
        StepFailed: The compressor refuses a tensor.
    """
    from tflite_micro import compression
    from tflite_micro.tensorflow.lite.micro.compression import compressor, spec

    specs = compression.SpecBuilder()
    for table in tables:
        mode = spec.PerTensor() if table.axis is None else spec.PerChannel(axis=table.axis)
        tensor = specs.add_tensor(subgraph=table.graph, tensor=table.tensor)
        specs = tensor.with_lut(index_bitwidth=table.bits, mode=mode)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of single tensors that grow: what counts is the file
            written = bytes(compression.compress(with_builtin_codes(data), specs.build()))
    except compressor.CompressionError as error:
        raise StepFailed(f"the compressor refuses: {first_line(error)}") from None
    return slim(written, keep)


def with_builtin_codes(data: bytes) -> bytes:
    """The file with each op's code where new readers look for it; old converters left it 0 there.

    Raises:
        InputError: It is no `.tflite` or damaged.
    """
    model = parse_model(data, where="the file")
    codes = [code for code in model.operatorCodes if code.builtinCode < code.deprecatedBuiltinCode]
    for code in codes:
        code.builtinCode = code.deprecatedBuiltinCode
    return pack_shared(model) if codes else data


def choose(data: bytes, inputs: Any, keep: frozenset[str], limit: int | None, sound: Callable[[bytes], str]) -> Choice:
    """Find the smallest file with look-up tables whose arena keeps to a limit.

    Without a limit the arena may grow by as many bytes as the file shrinks, so that both together never take more.

    Args:
        data: The plain file.
        inputs: Raw samples that it takes, to try arenas with.
        keep: What slimming keeps of names, signatures and metadata.
        limit: Bytes that its arena may have, if there is a limit.
        sound: Says why a file does not compute what the plain one does, or nothing.

    Raises:
        NothingGained: No table pays, TFLM does not run the file, or the limit leaves nothing.
    """
    found, left = _found(data)
    plain = smallest_arena(data, inputs)
    if not plain:
        raise NothingGained("TFLM does not run the file", left)
    if limit is not None and plain > limit:
        raise NothingGained(f"the plain file needs an arena of {plain:,} bytes already, {limit:,} are allowed", left)

    known: dict[tuple[tuple[int, int], ...], bytes] = {}

    def made(tables: Sequence[Table]) -> bytes:
        key = tuple((table.graph, table.tensor) for table in tables)
        if key not in known:
            known[key] = build(data, tables, keep)
        return known[key]

    tables = _paying(_without_culprits(_decodable(found, made, left), made, sound, left), made, left)
    if len(made(tables)) >= len(data):
        raise NothingGained(TOO_SMALL, left)

    def keeps(one: bytes) -> bool:
        return fits(one, inputs, plain + len(data) - len(one) if limit is None else limit)

    rule = "takes more arena than the file saves"
    if limit is not None:
        rule = f"breaks the limit of {limit:,} bytes on the arena"
    tables = _within(tables, made, keeps, left, f"decoded, it {rule}")
    if not tables:
        hint = "" if limit is not None else "; a limit on the arena that has room for it allows that"
        raise NothingGained(f"each of the repeated weights, decoded, {rule}{hint}", left)
    best = made(tables)
    if len(best) >= len(data):
        raise NothingGained(TOO_SMALL, left)
    return Choice(best, tables, left, smallest_arena(best, inputs), plain)


def _found(data: bytes) -> tuple[list[Table], dict[str, str]]:
    """The candidates of a file.

    Raises:
        NothingGained: There are none.
    """
    model = parse_model(data, where="the file")
    if holds_tables(model):
        raise NothingGained("it has look-up tables already", {})
    found, left = candidates(model)
    if not found:
        raise NothingGained("no int8 weights that tables make smaller" if left else "it has no int8 weights", left)
    return found, left


def _decodable(found: list[Table], made: Build, left: dict[str, str]) -> list[Table]:
    """The tables that the compressor takes; it refuses weights that an op must know before it runs."""
    try:
        made(found)
        return found
    except StepFailed:
        kept = []
    for table in found:
        try:
            made([table])
            kept.append(table)
        except StepFailed as error:
            left[table.name] = error.what
    return kept


def _without_culprits(
    tables: list[Table], made: Build, sound: Callable[[bytes], str], left: dict[str, str]
) -> list[Table]:
    """The tables with which the file computes what it did; each is tried alone where all together do not.

    Raises:
        NothingGained: None, or together they still do not.
    """
    reason = sound(made(tables)) if tables else "the compressor takes none of the weights"
    if not reason:
        return tables
    kept = []
    for table in tables:
        if wrong := sound(made([table])):
            left[table.name] = wrong
        else:
            kept.append(table)
    if not kept or (len(kept) == len(tables)) or (reason := sound(made(kept))):
        raise NothingGained(reason, left)
    return kept


def _within(
    tables: list[Table], made: Build, keeps: Callable[[bytes], bool], left: dict[str, str], reason: str
) -> list[Table]:
    """The tables that keep to a limit on the arena, those that save most first.

    A decoded weight is in the arena only while its op runs, so one that fits alone costs the others no more than the
    few hundred bytes of its op: to take those that save most first is best.
    """
    if not tables or keeps(made(tables)):
        return tables
    chosen: list[Table] = []
    for table in sorted(tables, key=lambda one: -one.saved):
        if keeps(made([*chosen, table])):
            chosen.append(table)
        else:
            left[table.name] = reason
    return [table for table in tables if table in chosen]


def _paying(tables: list[Table], made: Build, left: dict[str, str]) -> list[Table]:
    """The tables without which the file would be larger: the small ones are tried, smallest first."""
    kept = list(tables)
    for table in sorted(tables, key=lambda one: one.saved):
        if table.saved >= DOUBTFUL:
            break
        others = [one for one in kept if one is not table]
        if others and len(made(others)) <= len(made(kept)):
            kept = others
            left[table.name] = f"its op and tables take what the weights save ({table.saved} bytes)"
    return kept
