"""Write the option tables of these pages from the models that read a config: `make docs`.

Between `<!-- table: NAME -->` and `<!-- end -->` stands the table of that name; a test holds every page to it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from litemill.config.data_kinds import DATA_KINDS
from litemill.config.kubernetes import ClusterSpec, Placement
from litemill.config.run import RunSpec, Training
from litemill.config.schemes import SCHEMES
from litemill.config.steps import TRAIN_STEPS, LayerOptions, TrainOptions
from litemill.config.target_specs import TargetSpec
from litemill.config.targets import TARGETS
from litemill.tasks import METRICS

FOLDER = Path(__file__).parent
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def options(model: type[BaseModel], without: type[BaseModel] | None = None) -> str:
    """The options of a model, but for those that it shares with another, which has a table of its own."""
    shared = set(without.model_fields) if without else set()
    return _rows(("option", "default", "meaning"), (_option(name, field) for name, field in _own(model, shared)))


def sections() -> str:
    """Every key of a run config, sections below what they are in."""
    return _rows(("key", "default", "meaning"), _keys(RunSpec, ""))


def of_each(registry: Any, what: str) -> str:
    """The options of each record that has some; records with the same options share a line."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for name in _ours(registry):
        for option, field in registry[name].options.model_fields.items():
            lines.setdefault(_option(option, field), []).append(f"`{name}`")
    return _rows(
        ("option", what, "default", "meaning"), ((line[0], ", ".join(on), *line[1:]) for line, on in lines.items())
    )


def schemes() -> str:
    """Conversion schemes with their options."""
    rows = []
    for name in _ours(SCHEMES):
        scheme = SCHEMES[name]
        rows.append((f"`{name}`", scheme.summary, "yes" if scheme.calibrated else "no", _written(scheme.options)))
    return _rows(("scheme", "what it does", "calibrated", "options"), rows)


def data_kinds() -> str:
    """Kinds of data with their options."""
    return _rows(
        ("kind", "source", "`data.uri`", "options"),
        (
            (f"`{name}`", DATA_KINDS[name].summary, DATA_KINDS[name].uri, _written(DATA_KINDS[name].options))
            for name in _ours(DATA_KINDS)
        ),
    )


def targets() -> str:
    """Options of targets, and which kinds take them."""
    takes: dict[str, list[str]] = {}
    fields: dict[str, FieldInfo] = {}
    for name in _ours(TARGETS):
        for option in TARGETS[name].options():
            takes.setdefault(option, []).append("ethos-u" if name.startswith("ethos-u") else name)
            fields.setdefault(option, TARGETS[name].spec.model_fields[option])
    rows = []
    for name, field in fields.items():
        rows.append((f"`{name}`", ", ".join(dict.fromkeys(takes[name])), *_option(name, field)[1:]))
    return _rows(("option", "for", "default", "meaning"), rows)


def metrics() -> str:
    """The metrics, what they are of, and which way is better."""
    rows = []
    for name in _ours(METRICS):
        metric = METRICS[name]
        better = "more" if metric.higher_is_better else "less"
        rows.append((f"`{name}`", metric.summary, ", ".join(metric.tasks), better))
    return _rows(("metric", "what it is", "of", "better"), rows)


def tables() -> dict[str, str]:
    """Every table by name."""
    steps = {name: options(model, LayerOptions if issubclass(model, LayerOptions) else TrainOptions)
             for name, model in TRAIN_STEPS.items() if name != "finetune"}  # fmt: skip
    return {
        **steps,
        "every-step": options(TrainOptions),
        "layers": options(LayerOptions, TrainOptions),
        "training": options(Training),
        "schemes": schemes(),
        "data-kinds": data_kinds(),
        "metrics": metrics(),
        "targets": targets(),
        "scheme-options": of_each(SCHEMES, "scheme"),
        "data-options": of_each(DATA_KINDS, "kind"),
        "kubernetes": options(ClusterSpec, Placement),
        "placement": options(Placement),
        "config": sections(),
    }


def rewritten(page: str) -> str:
    """A page with its tables as the models have them.

    Raises:
        KeyError: It asks for a table that there is not.
    """
    known = tables()
    return BLOCK.sub(lambda found: f"{found[1]}{known[found[2]]}{found[3]}", page)


def _ours(registry: Any) -> list[str]:
    """Names that this distribution brings, whatever else is installed."""
    return [name for name in registry if registry.brought_by(name).distribution == "litemill"]


def _own(model: type[BaseModel], shared: set[str]) -> Iterator[tuple[str, FieldInfo]]:
    yield from ((name, field) for name, field in model.model_fields.items() if name not in shared)


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner and inner is not TargetSpec:
            if field.description:
                yield _option(f"{prefix}{name}", field)
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            yield _option(f"{prefix}{name}", field)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, if it is one section."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [one for one in get_args(annotation) if one is not type(None)]
    return _model_of(inner[0]) if get_origin(annotation) in (Union, type(int | None)) and len(inner) == 1 else None


def _option(name: str, field: FieldInfo) -> tuple[str, str, str]:
    meaning = field.description or ""
    if choices := _choices(field.annotation):
        meaning = f"{meaning}{'; ' if meaning else ''}one of {', '.join(f'`{one}`' for one in choices)}"
    return f"`{name}`", _default(field), meaning


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [one if isinstance(one, str) else json.dumps(one) for one in get_args(annotation) if one != ""]
    return []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    if value is PydanticUndefined or value is None or value in ("", [], {}, ()):
        return ""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple) and all(isinstance(one, BaseModel) for one in value):
        value = [one.model_dump(mode="json") for one in value]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _written(model: type[BaseModel]) -> str:
    return ", ".join(f"`{name}`" for name in model.model_fields)


def _rows(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    """Text as a cell of Markdown shows it: `<target>` is no HTML, and a bar ends no cell."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))


if __name__ == "__main__":
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := rewritten(text)) != text:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.name} written\n")
