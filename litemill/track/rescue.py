"""A pipeline that stopped before its comparison: what MLflow has of it is compared all the same.

A cluster starts nothing more once a task has failed, `compare` included (kubeflow/pipelines#7330); the exit task runs
whatever happened. Runs on this machine compare by themselves, whatever failed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from litemill.artifacts.failure import leave_failed_variants
from litemill.config.budget import NO_LIMIT, Budget
from litemill.config.steps import Step
from litemill.select.results import Results
from litemill.track.comparison import COMPARED, compare_runs
from litemill.track.runs import RECIPE, children, parent_of
from litemill.track.spool import here
from litemill.track.store import store_errors
from litemill.track.variants import log_variants

log = logging.getLogger(__name__)

LOGGED = ("FINISHED", "FAILED")
"""MLflow's states of a variant's run of which everything was logged."""


class Comparison(BaseModel):
    """What a run should have compared, as far as it is known before it begins."""

    recipes: dict[str, list[Step]] = Field(description="steps by recipe")
    budget: Budget
    objective: str
    seed: int = 0
    max_accuracy_drop: float = Field(NO_LIMIT, description="in place of the budget's own; negative: no limit")
    max_size_bytes: int = Field(NO_LIMIT, description="likewise")


def compare_rest(
    name: str, pipeline_run_id: str, planned: Comparison | Mapping[str, Any], error: str
) -> Results | None:
    """Compare the variants that were logged before a pipeline stopped; the others are named as failed.

    Args:
        name: Experiment.
        pipeline_run_id: What the pipeline's runner calls this run.
        planned: What it should have compared.
        error: Why it stopped.

    Returns:
        The variants, ranked; None where there is nothing to compare, where all were compared before, or where MLflow is
        down (`litemill sync` logs what a run on this machine kept).

    Raises:
        LitemillError: MLflow cannot be used.
    """
    asked = Comparison.model_validate(planned)
    spool = here()
    if spool and spool.offline:
        return None
    with store_errors("compare what there is") as client:
        parent = parent_of(client, name, pipeline_run_id)
        if not parent or client.get_run(parent).data.tags.get(COMPARED):
            return None
        logged = _logged(children(client, parent))
    if not any(recipe in asked.recipes for recipe in logged):
        return None
    missing = {recipe: steps for recipe, steps in asked.recipes.items() if recipe not in logged}
    log.warning("the pipeline stopped before its comparison: %d of %d recipes", len(logged), len(asked.recipes))
    with tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        ids = [*logged.values(), *_log_missing(parent, missing, error, asked.seed, Path(scratch))]
        return compare_runs(
            parent,
            ids,
            name=name,
            budget=asked.budget.replaced(asked.max_accuracy_drop, asked.max_size_bytes),
            objective=asked.objective,
            out=Path(scratch) / "results",
        )


def _logged(runs: Sequence[Any]) -> dict[str, str]:
    """Ids of the variants' runs that are complete, by recipe."""
    return {
        run.data.tags[RECIPE]: str(run.info.run_id)
        for run in runs
        if run.data.tags.get(RECIPE) and run.info.status in LOGGED
    }


def _log_missing(parent: str, recipes: Mapping[str, Sequence[Step]], error: str, seed: int, scratch: Path) -> list[str]:
    """Log the recipes that the pipeline did not get to as failed; returns the ids of their runs."""
    if not recipes:
        return []
    reason = f"the pipeline stopped before it was done: {error.strip() or 'the logs of its tasks say why'}"
    leave_failed_variants(scratch / "missing", recipes, reason, seed=seed)
    return log_variants(parent, scratch / "missing", scratch / "missing", [])
