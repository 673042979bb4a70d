"""How evidence shows itself in a notebook: tables of what a reader compares, and the same as a pandas frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel

from litemill.errors import LitemillError

ROWS = 100
"""Rows of a table that are shown; the evidence holds all."""
FEW = 8
"""Plain values that a list in a cell may have; of a longer one the cell says how many there are."""
HIDDEN = frozenset({"schema_version"})


class Shown(BaseModel):
    """Base of what shows itself in a notebook.

    Attributes:
        columns: The fields that a table of many has, in this order; all of them where it is empty.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def _repr_html_(self) -> str:
        """Plain values as one table; each record in it, and each list or mapping of records, as one of its own."""
        return "".join(_tables(type(self).__name__, self))

    def to_frame(self) -> Any:
        """A pandas frame of one row: each plain value a column, bounds of intervals beside their values.

        Raises:
            LitemillError: pandas is not installed.
        """
        return frame([flat(self)])


Record = TypeVar("Record", bound=BaseModel)


class ByRecipe(dict[str, Record]):
    """Evidence by name of the recipe: a dictionary that shows itself as a table."""

    def _repr_html_(self) -> str:
        return rows_html("", [_row(name, one, "recipe") for name, one in self.items()])

    def to_frame(self) -> Any:
        """A pandas frame with one row a recipe.

        Raises:
            LitemillError: pandas is not installed.
        """
        return frame([{"recipe": name, **flat(one)} for name, one in self.items()])


def rows_html(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """An HTML table with one line a row; columns without any value are left out, and all text is escaped."""
    shown = [{name: text_of(value) for name, value in row.items()} for row in rows[:ROWS]]
    columns = [name for name in dict.fromkeys(name for row in shown for name in row) if any(map(_at(name), shown))]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("".join(f"<td>{escape(row.get(name, ''))}</td>" for name in columns) for row in shown)
    more = f"<p>… and {len(rows) - ROWS} more</p>" if len(rows) > ROWS else ""
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table>{caption}<tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{more}"


def flat(one: BaseModel) -> dict[str, Any]:
    """The plain values of a record by name; `drop` with an interval is `drop`, `drop_low` and `drop_high`."""
    found: dict[str, Any] = {}
    for name, value in fields_of(one).items():
        if _is_estimate(value):
            found |= {name: value.value, f"{name}_low": value.ci[0], f"{name}_high": value.ci[1]}
        elif isinstance(value, Mapping):
            found |= {f"{name}.{key}": part for key, part in value.items() if _plain(part)}
        elif _plain(value):
            found[name] = value
    return found


def frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A pandas frame.

    Raises:
        LitemillError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise LitemillError("to_frame() needs pandas", fix="Install it with `pip install pandas`") from None
    return pandas.DataFrame(list(rows))


def fields_of(one: BaseModel) -> dict[str, Any]:
    """The values of a record by field."""
    return {name: getattr(one, name) for name in type(one).model_fields if name not in HIDDEN}


def text_of(value: Any) -> str:
    """A value as a reader wants it in a cell; empty where there is nothing to say."""
    if value is None or value == "" or (isinstance(value, list | tuple | Mapping) and not value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if _is_estimate(value):
        return f"{value.value:.4g} [{value.ci[0]:.4g}, {value.ci[1]:.4g}]"
    if isinstance(value, BaseModel):
        return text_of({name: part for name, part in fields_of(value).items() if _plain(part)})
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text}" for key, part in value.items() if (text := text_of(part)))
    if isinstance(value, list | tuple):
        short = len(value) <= FEW and all(map(_plain, value))
        return ", ".join(map(text_of, value)) if short else f"{len(value)} values"
    return str(value)


def _tables(title: str, one: BaseModel) -> list[str]:
    """The tables that a record is shown by."""
    fields = fields_of(one)
    inner = {name: value for name, value in fields.items() if isinstance(value, BaseModel) and not _is_estimate(value)}
    several = {name: value for name, value in fields.items() if _records(value)}
    plain = [{"": name, " ": value} for name, value in fields.items() if name not in inner | several]
    tables = [rows_html(title, [row for row in plain if text_of(row[" "])])]
    tables += [rows_html(name, [_row(at, record) for at, record in _named(value)]) for name, value in several.items()]
    return tables + [table for name, value in inner.items() for table in _tables(name, value)]


def _at(name: str) -> Any:
    return lambda row: row.get(name)


def _row(name: str, one: BaseModel, heading: str = "") -> dict[str, Any]:
    """One record as a row of a table of many."""
    wanted = one.columns if isinstance(one, Shown) else ()
    fields = fields_of(one)
    return {heading: name} | {field: fields[field] for field in wanted or fields if field != heading}


def _named(value: Any) -> list[tuple[str, BaseModel]]:
    """Records with their names; those of a list are numbered."""
    return list(value.items()) if isinstance(value, Mapping) else [(str(at), one) for at, one in enumerate(value, 1)]


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_estimate(value: object) -> bool:
    return isinstance(value, BaseModel) and {"value", "ci"} <= set(type(value).model_fields)


def _records(value: object) -> bool:
    """Whether a value is several records: a list or a mapping of them."""
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple):
        parts = value
    return bool(parts) and all(isinstance(part, BaseModel) and not _is_estimate(part) for part in parts)
