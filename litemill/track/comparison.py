"""Fan-in: the evidence of all child runs, fetched from MLflow, judged, reported and logged to the parent run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from litemill.artifacts.bundle import recipe_folders
from litemill.artifacts.files import sha256_of, staged
from litemill.artifacts.layout import DIAGNOSIS, RESULTS, SAMPLES, SUMMARY, VARIANTS
from litemill.artifacts.proof import check_variant
from litemill.config.budget import Budget
from litemill.config.run import CHAMPION
from litemill.errors import InputError
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.variant import VariantManifest
from litemill.report.comparison import write_comparison
from litemill.select import Candidate
from litemill.select.evidence_folders import lay_out, read_candidate
from litemill.select.results import Results, VariantResult
from litemill.track.pages import CONFUSION, PER_CLASS, data_inputs, headline, log_inputs, log_pictures, run_name
from litemill.track.runs import ATTACHED, NOTE, RECIPE, VERDICT, flatten
from litemill.track.spool import Spool, Start, here, tracked
from litemill.track.store import MAX_TAG, store_errors, write

if TYPE_CHECKING:
    from mlflow import MlflowClient

COMPARED = "litemill.compared"
"""Tag of the parent run: digest of the `results.json` that was logged, once all of it was."""


class Basis(BaseModel):
    """What variants are judged against, besides the budget."""

    reference: Path | None = None
    """Evaluation of the baseline, whose samples the variants are paired with."""
    champion: ChampionVersion | None = None
    """Which version of the registry the winner must not be worse than, as `champion_version` gives it; its run is among
    those that are compared where there is one."""


def compare_runs(
    run_id: str,
    run_ids: Sequence[str],
    *,
    name: str,
    budget: Budget,
    objective: str,
    out: str | Path,
    diagnosis: str | Path | None = None,
    basis: Basis | Mapping[str, Any] | None = None,
) -> Results:
    """Compare the variants of MLflow runs as `compare` does those of folders, and log the result to the parent run.

    Args:
        run_id: The parent run, from `start_run`.
        run_ids: The variants' runs, from `log_variants`.
        name: Name of the run.
        budget: What a variant must keep to be shipped.
        objective: What to minimise among those, as the config has it.
        out: Folder for `results.json`, `report.html`, `summary.md` and every variant; it must not exist yet.
        diagnosis: What the doctor wrote before the run; kept beside the results.
        basis: What the variants are judged against.

    Returns:
        The variants, ranked.

    Raises:
        InputError: There are no runs to compare, or one holds no variant.
        LitemillError: The store cannot be used.
    """
    against = Basis.model_validate(basis or {})
    asked = _Asked(
        run_id=run_id,
        name=name,
        budget=budget,
        objective=objective,
        out=Path(out),
        diagnosis=None if diagnosis is None else Path(diagnosis),
        reference=against.reference,
        champion=against.champion,
    )
    spool = here()
    if spool is None:
        return _compare(asked, run_ids)
    if asked.diagnosis:
        spool.keep_diagnosis(asked.diagnosis)
    return tracked(lambda: _compare(asked, run_ids), None) or _compare_kept(asked, spool)


@dataclass(frozen=True)
class _Asked:
    """What a comparison is about."""

    run_id: str
    name: str
    budget: Budget
    objective: str
    out: Path
    diagnosis: Path | None
    reference: Path | None
    champion: ChampionVersion | None


def _compare(asked: _Asked, run_ids: Sequence[str]) -> Results:
    """Compare what MLflow has, and log the result there."""
    if not run_ids:
        raise InputError("there are no variants to compare", where=f"run {asked.run_id}")
    with store_errors("compare variants") as client, staged(asked.out) as folder:
        runs = {_fetch(client, child, folder / VARIANTS): child for child in run_ids}
        candidates = [read_candidate(folder / VARIANTS / recipe) for recipe in runs]
        results = _write(asked, candidates, folder, client.get_run(asked.run_id).data.params)
        for recipe in runs:  # per-sample outcomes and pictures stay with the child runs
            for name in (SAMPLES, CONFUSION, PER_CLASS):
                (folder / VARIANTS / recipe / name).unlink(missing_ok=True)
        publish(client, asked.run_id, runs, results, folder)
    return results


def _compare_kept(asked: _Asked, spool: Spool) -> Results:
    """Compare what the run kept on disk; `litemill sync` logs the result once MLflow answers."""
    start = spool.kept("start", Start)
    with staged(asked.out) as folder:
        kept = [read_candidate(place) for place in recipe_folders(spool.folder / VARIANTS).values()]
        for candidate in kept:
            lay_out(candidate, folder / VARIANTS / candidate.recipe)
        results = _write(asked, kept, folder, flatten(start.params) if start else {})
        shutil.copyfile(folder / RESULTS, spool.folder / RESULTS)  # for those who are told how the run ended
        return results


def _write(asked: _Asked, candidates: Sequence[Candidate], folder: Path, config: Mapping[str, str]) -> Results:
    judged = list(candidates)
    if asked.champion is not None and not any(one.variant.champion for one in judged):
        judged.append(_absent(asked.champion))
    results = write_comparison(
        judged,
        folder,
        name=asked.name,
        budget=asked.budget,
        objective=asked.objective,
        mlflow_run_id=asked.run_id,
        config=config,
        reference=asked.reference,
    )
    if asked.diagnosis:
        shutil.copyfile(asked.diagnosis, folder / DIAGNOSIS)
    return results


def _absent(version: ChampionVersion) -> Candidate:
    """A champion without evidence: there is none yet, or what should have brought it failed."""
    reason = "its evidence is missing" if version.there else f"there is {version}"
    return Candidate(
        variant=VariantManifest(recipe=CHAMPION, steps=[], scheme="", champion=version, status="failed", reason=reason)
    )


def _fetch(client: MlflowClient, run_id: str, into: Path) -> str:
    """Download a child run's files to a folder named after its recipe, and return that name."""
    recipe = str(client.get_run(run_id).data.tags.get(RECIPE, ""))
    if not recipe:
        raise InputError(
            "holds no variant", where=f"MLflow run {run_id}", fix="Pass the ids that log_variants returned"
        )
    folder = into / recipe
    if folder.exists():
        raise InputError(f"two runs hold the recipe {recipe!r}", where=f"MLflow run {run_id}")
    folder.mkdir(parents=True)
    client.download_artifacts(run_id, "", str(folder))
    check_variant(folder)
    return recipe


def publish(client: MlflowClient, parent_run_id: str, runs: dict[str, str], results: Results, folder: Path) -> None:
    """Log a comparison: files, description and the headline figures to the parent, each verdict to its child.

    What was logged before is not logged again.

    Args:
        client: Of the store.
        parent_run_id: The run of the pipeline.
        runs: Ids of the variants' runs by recipe.
        results: The comparison.
        folder: Its files.
    """
    parent = client.get_run(parent_run_id)
    known, digest = parent.data, sha256_of(folder / RESULTS)
    if known.tags.get(COMPARED) == digest:
        return
    client.log_artifacts(parent_run_id, str(folder))
    log_pictures(client, parent_run_id, results)
    compared = [read_candidate(folder / VARIANTS / recipe) for recipe in runs]
    log_inputs(client, parent_run_id, [one for candidate in compared for one in data_inputs(candidate, results.name)])
    if known.tags.get(ATTACHED) != "true":  # a run of Kubeflow's own has Kubeflow's name
        client.update_run(parent_run_id, name=run_name(results.name, parent.info.start_time, results.winner))
    for variant in results.variants:
        tags = {VERDICT: variant.verdict, "litemill.pareto": str(variant.pareto)}
        tags |= {"litemill.refused_by": ", ".join(variant.refused_by), "litemill.reasons": variant.reason}
        _write_new(client, runs[variant.recipe], proved(variant), tags)
    tags = {
        "litemill.winner": results.winner,
        "litemill.outcome": results.reason,
        "litemill.decision": results.decision,
        "litemill.budget": "; ".join(results.budget.phrases()) or "none given",
        "litemill.confidence": f"{results.family.confidence:g} over {results.family.variants} variants together",
        "litemill.champion": str(results.champion.version) if results.champion else "",
        NOTE: fit((folder / SUMMARY).read_text(encoding="utf-8")),
        COMPARED: digest,
    }
    write(client, parent_run_id, params={"objective": results.objective})
    _write_new(client, parent_run_id, headline(results), tags)


def _write_new(client: MlflowClient, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
    """Log tags, and the metrics that a run has not got: a second point of one would look like a second measurement."""
    known = client.get_run(run_id).data.metrics
    write(
        client, run_id, metrics={name: value for name, value in metrics.items() if known.get(name) != value}, tags=tags
    )


def proved(variant: VariantResult) -> dict[str, float]:
    """The bounds that the gate went by, as metrics of a variant's run."""
    proof = variant.proof
    known = {
        "accuracy_drop": proof.drop,
        "accuracy": proof.accuracy,
        "class_drop": proof.class_drop and proof.class_drop.drop,
        "champion_drop": proof.champion_drop,
    }
    found: dict[str, float] = {}
    for name, estimate in known.items():
        if estimate:
            low, high = estimate.ci
            found |= {f"proof/{name}": estimate.value, f"proof/{name}_low": low, f"proof/{name}_high": high}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def fit(summary: str, limit: int = MAX_TAG) -> str:
    """Cut a description at a line's end so that it fits into a tag, and say where the rest is."""
    if len(summary) <= limit:
        return summary
    rest = f"\n\nThe rest is in the artifact {SUMMARY}.\n"
    return summary[: limit - len(rest)].rpartition("\n")[0] + rest
