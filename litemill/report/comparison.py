"""A comparison of candidates: judged, ranked, and left in a folder as `results.json`, page and summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from litemill.artifacts.files import write_manifest
from litemill.artifacts.layout import RESULTS
from litemill.config.run import Budget
from litemill.report.page import write_report
from litemill.select import Candidate, build_results, select
from litemill.select.results import Results


def write_comparison(
    candidates: Sequence[Candidate],
    folder: Path,
    *,
    name: str,
    budget: Budget,
    objective: str,
    mlflow_run_id: str = "",
    config: Mapping[str, str] | None = None,
    reference: Path | None = None,
) -> Results:
    """Judge and rank candidates, and write `results.json`, `report.html` and `summary.md`.

    Args:
        candidates: One a recipe, failed ones included; among them the champion that they are held against.
        folder: To write into.
        name: Of the run.
        budget: What a variant must keep to be shipped.
        objective: What to minimise among those that do.
        mlflow_run_id: Of the parent run, if there is one.
        config: What the run was asked for, flattened; shown as it is.
        reference: Evaluation of the float32 baseline bundle, whose samples the variants are paired with.

    Raises:
        InputError: The champion or the baseline was evaluated on other samples than the variants.
    """
    champion = next((one for one in candidates if one.variant.champion), None)
    variants = [one for one in candidates if not one.variant.champion]
    selection = select(variants, budget, objective, champion=champion, reference=reference)
    results = build_results(
        name, variants, selection, budget, objective, mlflow_run_id=mlflow_run_id, champion=champion
    )
    write_manifest(folder / RESULTS, results)
    write_report(results, candidates, folder, config)
    return results
