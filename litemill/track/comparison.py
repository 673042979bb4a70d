"""Fan-in: the evidence of all child runs, fetched from MLflow, judged, reported and logged to the parent run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from litemill.artifacts.files import staged
from litemill.artifacts.layout import DIAGNOSIS, SAMPLES, SUMMARY, VARIANTS
from litemill.artifacts.proof import check_variant
from litemill.config.budget import Budget
from litemill.config.run import CHAMPION
from litemill.errors import InputError
from litemill.evidence import ChampionVersion, VariantManifest
from litemill.report.comparison import write_comparison
from litemill.select import Candidate
from litemill.select.evidence_folders import read_candidate
from litemill.select.results import Results, VariantResult
from litemill.track.runs import NOTE, RECIPE, VERDICT
from litemill.track.store import MAX_TAG, store_errors, write

if TYPE_CHECKING:
    from mlflow import MlflowClient


def compare_runs(
    run_id: str,
    run_ids: Sequence[str],
    *,
    name: str,
    budget: Budget,
    objective: str,
    out: str | Path,
    diagnosis: str | Path | None = None,
    reference: str | Path | None = None,
    champion: ChampionVersion | Mapping[str, str] | None = None,
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
        reference: Evaluation of the baseline, whose samples the variants are paired with.
        champion: Which version of the registry the winner must not be worse than, as `champion_version` gives it; its
            run is among `run_ids` where there is one.

    Returns:
        The variants, ranked.

    Raises:
        InputError: There are no runs to compare, or one holds no variant.
        LitemillError: The store cannot be used.
    """
    if not run_ids:
        raise InputError("there are no variants to compare", where=f"run {run_id}")
    with store_errors("compare variants") as client, staged(Path(out)) as folder:
        runs = {_fetch(client, child, folder / VARIANTS): child for child in run_ids}
        candidates = [read_candidate(folder / VARIANTS / recipe) for recipe in runs]
        if champion is not None and not any(one.variant.champion for one in candidates):
            candidates.append(_absent(ChampionVersion.model_validate(champion)))
        results = write_comparison(
            candidates,
            folder,
            name=name,
            budget=budget,
            objective=objective,
            mlflow_run_id=run_id,
            config=client.get_run(run_id).data.params,
            reference=None if reference is None else Path(reference),
        )
        for recipe in runs:  # per-sample outcomes stay with the child runs
            (folder / VARIANTS / recipe / SAMPLES).unlink(missing_ok=True)
        if diagnosis:
            shutil.copyfile(diagnosis, folder / DIAGNOSIS)
        _publish(client, run_id, runs, results, folder)
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


def _publish(client: MlflowClient, parent_run_id: str, runs: dict[str, str], results: Results, folder: Path) -> None:
    """Log a comparison: files, description and the winner's figures to the parent, each verdict to its child."""
    client.log_artifacts(parent_run_id, str(folder))
    best = next((variant for variant in results.variants if variant.recipe == results.winner), None)
    metrics: dict[str, float] = {
        "variants": len(results.variants),
        "admissible": sum(variant.rank is not None for variant in results.variants),
    }
    if best:
        metrics |= {"winner/size_bytes": best.size_bytes, "winner/gzip_bytes": best.gzip_bytes}
        metrics |= {"winner/accuracy": best.accuracy} if best.accuracy is not None else {}
        metrics |= {"winner/accuracy_drop": best.accuracy_drop.value} if best.accuracy_drop else {}
    write(
        client,
        parent_run_id,
        params={"objective": results.objective},
        metrics=metrics,
        tags={
            "litemill.winner": results.winner,
            "litemill.outcome": results.reason,
            "litemill.decision": results.decision,
            "litemill.budget": "; ".join(results.budget.phrases()) or "none given",
            "litemill.confidence": f"{results.family.confidence:g} over {results.family.variants} variants together",
            "litemill.champion": str(results.champion.version) if results.champion else "",
            NOTE: fit((folder / SUMMARY).read_text(encoding="utf-8")),
        },
    )
    for variant in results.variants:
        tags = {VERDICT: variant.verdict, "litemill.pareto": str(variant.pareto)}
        tags |= {"litemill.refused_by": ", ".join(variant.refused_by), "litemill.reasons": variant.reason}
        write(client, runs[variant.recipe], tags=tags, metrics=proved(variant))


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
