"""Compare variants from the folders that the single steps wrote: without MLflow, without a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litemill.artifacts.files import staged
from litemill.artifacts.layout import VARIANTS
from litemill.config.run import Budget
from litemill.config.written import section_of
from litemill.errors import InputError
from litemill.report.comparison import write_comparison
from litemill.select import Candidate
from litemill.select.evidence_folders import lay_out, read_candidates
from litemill.select.results import Results

Folders = str | Path | Sequence[str | Path]


def compare(
    variants: Folders,
    evaluation: Folders,
    measurements: Folders = (),
    *,
    out: str | Path,
    reference: str | Path | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    objective: str = "size",
    name: str = "",
) -> Results:
    """Say which variant to ship: what the budget admits, ranked by the objective, with a report.

    A failed conversion, evaluation or measurement takes part with its reason.

    Args:
        variants: Folder that `convert` wrote, or several: one for each model; that of `champion` may be among them.
        evaluation: Folder that `evaluate` wrote for it; as many as `variants`, in the same order.
        measurements: Folders that `benchmark` wrote, of any target and model.
        out: Folder to write: `results.json`, `report.html`, `summary.md` and every variant with its evidence; it must
            not exist yet.
        reference: Evaluation of the baseline that the variants were paired with: from its samples the intervals of all
            variants are made to hold together. Without it they are wider than need be (Bonferroni).
        budget: The `budget` section of a run config; no limits without it.
        objective: `size`, `gzip`, `latency:<target>` or another: what to minimise.
        name: How results and report are headed; by default the name of `out`.

    Returns:
        The variants, ranked; `winner` is the recipe to ship, or empty.

    Raises:
        ConfigError: The budget or the objective is wrong.
        InputError: A folder holds no variant, two hold the same recipe, or a manifest cannot be read.

    Example:
        >>> import litemill as lm
        >>> judged = lm.evaluate("variants", "data", reference="baseline-evaluation", out="evaluation")
        >>> results = lm.compare("variants", "evaluation", budget={"max_accuracy_drop": 0.05}, out="results")
        >>> results.winner
        'small'
    """
    limits = section_of(Budget, budget, "budget")
    bundles, evaluated, measured = _paths(variants), _paths(evaluation), _paths(measurements)
    if len(bundles) != len(evaluated):
        what = f"{len(bundles)} folders of variants and {len(evaluated)} of evaluations"
        raise InputError(what, fix="Give one evaluation for each bundle, in the same order")
    candidates: list[Candidate] = []
    for bundle, judged in zip(bundles, evaluated, strict=True):
        candidates += read_candidates(bundle, judged, measured)
    _check_once(candidates)
    with staged(Path(out)) as folder:
        for candidate in candidates:
            lay_out(candidate, folder / VARIANTS / candidate.recipe)
        title = name or Path(out).name
        paired = None if reference is None else Path(reference)
        return write_comparison(candidates, folder, name=title, budget=limits, objective=objective, reference=paired)


def _paths(given: Folders) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(one) for one in given]


def _check_once(candidates: Sequence[Candidate]) -> None:
    recipes = [candidate.recipe for candidate in candidates]
    twice = sorted({recipe for recipe in recipes if recipes.count(recipe) > 1})
    if twice:
        raise InputError(f"two bundles hold the recipe {twice[0]!r}", fix="Give each recipe a name of its own")
