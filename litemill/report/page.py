"""The report of a run: `report.html` (one self-contained file) and `summary.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemill import __version__
from litemill.artifacts.files import write_text
from litemill.artifacts.layout import REPORT, SUMMARY
from litemill.report import wording
from litemill.report.figures import figures, targets
from litemill.report.provenance import flat_facts, provenance
from litemill.report.techniques import effects, remarks
from litemill.select import Candidate
from litemill.select.results import Results, TargetResult, VariantResult

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    results: Results, candidates: Sequence[Candidate], folder: Path, config: Mapping[str, str] | None = None
) -> None:
    """Write `report.html` and `summary.md` into a run's output folder.

    Args:
        results: What the run found.
        candidates: All of them; details come from there.
        folder: To write into.
        config: What the run was asked for, flattened; shown as it is.
    """
    templates = environment()
    context = _context(results, {one.recipe: one for one in candidates}, config or {})
    for template, name in (("report.html.j2", REPORT), ("summary.md.j2", SUMMARY)):
        write_text(folder / name, templates.get_template(template).render(context))


def environment() -> Environment:
    """The templates, with the words that they use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["say"] = wording
    made.filters["flat"] = lambda facts: list(flat_facts(facts))
    made.filters["plain"] = wording.markdown
    made.filters["code"] = wording.code
    return made


def _context(results: Results, evidence: Mapping[str, Candidate], config: Mapping[str, str]) -> dict[str, Any]:
    evaluated = [
        entry.evaluation for entry in evidence.values() if entry.evaluation and entry.evaluation.status == "ok"
    ]
    return {
        "results": results,
        "winner": next((variant for variant in results.variants if variant.recipe == results.winner), None),
        "usable": [variant for variant in results.variants if variant.status == "ok"],
        "failed": [row for row in _rows(results) if row.status == "failed"],
        "targets": targets(results),
        "rows": _rows(results),
        "effects": effects(results, targets(results)),
        "remarks": remarks(results, evidence, targets(results)),
        "columns": {target: _columns(results, target) for target in targets(results)},
        "figures": figures(results),
        "evidence": evidence,
        "metric": evaluated[0].metric if evaluated else "accuracy",
        "baseline": results.baseline,
        "provenance": provenance(evidence.values()),
        "config": config,
        "largest": max((one.size_bytes for one in (*results.variants, results.champion) if one), default=0),
        "version": __version__,
    }


def _rows(results: Results) -> list[VariantResult]:
    """The variants, and the champion where there is one."""
    champion = results.champion
    return [*results.variants, *([champion] if champion and champion.version.there else [])]


def _columns(results: Results, target: str) -> list[str]:
    """What a target has to tell about any variant that the table does not show already."""
    found = [(row, row.measurements[target]) for row in results.variants if target in row.measurements]
    message = {
        "p50": any("p50" in item.latency_ms for _, item in found),
        "ratio": any(item.ratio_to_float32 for _, item in found),
        "stored": any(item.realised_bytes not in (None, row.size_bytes) for row, item in found),
        "arena": any(item.arena_bytes for _, item in found),
        "taken": not any(item.latency_ms for _, item in found) and any(_accelerated(item) for _, item in found),
    }
    return [name for name, known in message.items() if known] or ["p50"]


def _accelerated(found: TargetResult) -> bool:
    """Whether something else than the CPU took ops of it."""
    return found.delegated_fraction is not None and not found.accelerator.startswith("cpu")
