"""Render what `make bench` found into the pages: `python -m benchmarks.table`, which `make bench` does at its end.

Between `<!-- benchmarks: NAME -->` and `<!-- end -->` stands the block of that name; a test holds the pages to the
files in `benchmarks/results/`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.cases import CASES, Case
from benchmarks.record import ROOT, Figure, Machine, Result, read

PAGES = ("README.md", "docs/speed.md")
BLOCK = re.compile(r"(<!-- benchmarks: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
MET, MISSED = " ✓", ", **missed**"


def summary() -> str:
    """The table: every case with its goals and what was measured, and where."""
    results = [(case, read(case.name)) for case in CASES]
    if not any(result for _, result in results):
        return "Not measured yet: `make bench` writes the table.\n"
    rows = [
        (case.what, case.against, *(_lines(texts) for texts in _figures(result)))
        for case, result in results
        if result is not None
    ]
    lines = [("case", "against", "goal", "measured"), ("---", "---", "---", "---"), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{text}\n{_where([result for _, result in results if result])}\n"


def details() -> str:
    """How each case is measured, and the samples behind its figures."""
    return "\n".join(_section(case, result) for case in CASES if (result := read(case.name)) is not None)


def rewritten(page: str) -> str:
    """A page with its blocks as the results have them.

    Raises:
        KeyError: It asks for a block that there is not.
    """
    blocks = {"summary": summary, "details": details}
    return BLOCK.sub(lambda found: f"{found[1]}{blocks[found[2]]()}{found[3]}", page)


def write_pages() -> list[str]:
    """Write the pages anew; returns the names of those that changed."""
    changed = []
    for name in PAGES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if (new := rewritten(text)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(name)
    return changed


def line_of(figure: Figure) -> str:
    """A figure in a line: its value with the interval, its name, whether the goal is met."""
    return f"{figure.shown} {figure.name}{MET if figure.met else MISSED}"


def _figures(result: Result) -> tuple[list[str], list[str]]:
    """Goals and what was measured, a line each."""
    return [figure.wanted for figure in result.figures], [line_of(figure) for figure in result.figures]


def _lines(texts: Sequence[str]) -> str:
    return "<br>".join(texts)


def _where(results: Sequence[Result]) -> str:
    """On what the results were measured, and when: once for all that were measured together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        groups.setdefault((_machine(result.machine), result.commit, result.date), []).append(result.case)
    lines = []
    for (machine, commit, date), names in groups.items():
        which = "" if len(groups) == 1 else f" ({', '.join(names)})"
        lines.append(f"Measured{which} on {machine}, at commit {commit}, {date}.")
    return "\n".join(lines)


def _machine(machine: Machine) -> str:
    tensorflow = machine.versions["tensorflow"]
    where = f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}"
    return f"{where}, Python {machine.python}, TensorFlow {tensorflow}"


def _section(case: Case, result: Result) -> str:
    against = "" if case.against == "–" else f" Against: {case.against}."
    notes = f" {'; '.join(result.notes).capitalize()}." if result.notes else ""
    load = f"Load before: {result.machine.load_before:g}."
    text = f"### {case.name}\n\n{case.what[0].upper()}{case.what[1:]}.{against} {case.how}{notes} {load}\n\n"
    shown = {name: values for name, values in result.samples.items() if not name.startswith(_MANY)}
    rows = [(f"`{name}`", str(len(values)), _number(median(values)), _number(min(values)), _number(max(values)))
            for name, values in shown.items()]  # fmt: skip
    lines = [("samples", "count", "median", "least", "most"), ("---",) * 5, *rows]
    return text + "".join(f"| {' | '.join(line)} |\n" for line in lines)


_MANY = ("step_", "accuracy_")
"""Samples that only the file tells: there are many of them."""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    for page in write_pages():
        sys.stdout.write(f"{page} written\n")
