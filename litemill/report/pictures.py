"""Figures of a run as files of their own, for pages that show one artifact at a time."""

from __future__ import annotations

import re
from html import escape

from litemill.evidence.outcome import Evaluation
from litemill.report.figures import figures
from litemill.report.page import environment
from litemill.select.results import Results

STYLE = """\
svg { background: #fff; font: 12px system-ui, sans-serif; fill: #334 }
.grid { stroke: #dde; stroke-width: 1 } .limit { stroke: #b33; stroke-width: 1.5; stroke-dasharray: 5 4 }
.front { fill: none; stroke: #557; stroke-width: 1.5; opacity: .6 } .whisker { stroke: #667; stroke-width: 1.5 }
.leader { stroke: #99a; stroke-width: 1 } .reach { fill: none } .halo { fill: none; stroke: #161; stroke-width: 2 }
.pass .mark { fill: #1a7f37 } .fail .mark { fill: #b33 } .inconclusive .mark { fill: #b58100 }
.label.winner { font-weight: 700 }
"""
DRAWN = re.compile(r"<svg viewBox=\"0 0 (\d+) (\d+)\"(.*)</svg>", re.DOTALL)
MOST_CLASSES = 60
"""Classes whose confusion is drawn; of more, no cell could be read."""
CELL, MARGIN, LETTER = 34, 12, 7


def trade_offs(results: Results) -> dict[str, str]:
    """The run's scatter plots as SVG, by file name: metric against size and against what each target makes of it."""
    draw = environment().get_template("figure.html.j2").module.draw  # type: ignore[attr-defined]
    found: dict[str, str] = {}
    for figure in figures(results):
        drawn = DRAWN.search(str(draw(figure)))
        if drawn:
            width, height, rest = drawn.groups()
            name = re.sub(r"[^a-z0-9]+", "-", figure.title.lower()).strip("-")
            found[f"trade-off-{name}.svg"] = _svg(int(width), int(height), f"<g{_attributes(rest)}</g>")
    return found


def _attributes(rest: str) -> str:
    """What follows the view box: the element's other attributes are for the page alone."""
    return ">" + rest.partition(">")[2]


def confusion(evaluation: Evaluation) -> str:
    """The confusion matrix of a classifier as SVG: rows are labels, columns predictions. Empty where there is none."""
    table = evaluation.confusion
    if not table or len(table) > MOST_CLASSES:
        return ""
    names = evaluation.interface.labels if evaluation.interface else []
    labels = [names[at] if at < len(names) else str(at) for at in range(len(table))]
    short = [label if len(label) <= 16 else f"{label[:15]}…" for label in labels]
    left = MARGIN + 30 + LETTER * max(map(len, short))
    top = MARGIN + 40
    parts = [f'<text x="{left}" y="18">predicted</text>']
    for row, counts in enumerate(table):
        y = top + row * CELL
        parts.append(f'<text x="{left - 8}" y="{y + 21}" text-anchor="end">{escape(short[row])}</text>')
        total = max(1, sum(counts))
        for column, count in enumerate(counts):
            share = count / total
            colour = "26,127,55" if row == column else "179,51,51"
            ink = "#fff" if share > 0.6 else "#334"
            x = left + column * CELL
            title = f"<title>{escape(labels[row])} as {escape(labels[column])}: {count} of {sum(counts)}</title>"
            parts.append(
                f'<g><rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="rgba({colour},{share:.3f})" '
                f'stroke="#dde"/><text x="{x + CELL / 2}" y="{y + 21}" text-anchor="middle" fill="{ink}" '
                f'font-size="{11 if count < 10_000 else 8}">{count or ""}</text>{title}</g>'
            )
    for column, label in enumerate(short):
        middle = left + column * CELL + CELL / 2
        shown = label if len(label) * LETTER < CELL else str(column)
        parts.append(f'<text x="{middle}" y="{top - 8}" text-anchor="middle">{escape(shown)}</text>')
    size = len(table) * CELL
    return _svg(left + size + MARGIN, top + size + MARGIN, "\n".join(parts))


def per_class(evaluation: Evaluation) -> str:
    """The figure of each class as CSV; empty where there are none."""
    if not evaluation.per_class:
        return ""
    names = evaluation.interface.labels if evaluation.interface else []
    lines = [f"class,{evaluation.per_class_metric}"]
    for at, value in enumerate(evaluation.per_class):
        label = (names[at] if at < len(names) else str(at)).replace('"', "'")
        lines.append(f'"{label}",{"" if value is None else value}')
    return "\n".join(lines) + "\n"


def _svg(width: int, height: int, content: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return f"{head}\n<style>{STYLE}</style>\n{content}\n</svg>\n"
