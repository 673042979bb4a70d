"""What makes MLflow's pages explain themselves: names, headline figures, data sets as inputs, pictures in place."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemill.artifacts.files import write_text
from litemill.config.names import file_name
from litemill.evidence.outcome import Evaluation
from litemill.report.pictures import confusion, per_class, trade_offs
from litemill.select import Candidate
from litemill.select.results import Results, VariantResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

NO_WINNER = "no winner"
CONFUSION, PER_CLASS = "confusion.svg", "per_class.csv"
MOST_CLASSES = 200
"""Classes that get a metric each; more would hide the others on the page."""
LONGEST_DIGEST, LONGEST_NAME = 36, 500
TRIES, PAUSE = 5, (0.05, 0.5)
"""How often a store is asked that another one was faster to, and the seconds between."""
RACED = re.compile(r"IntegrityError|UniqueViolation|UNIQUE constraint|duplicate key|Duplicate entry")
"""How SQLite, PostgreSQL and MySQL say that a row is there already, in what MLflow passes on."""


def run_name(config: str, start_ms: int | None = None, winner: str | None = None) -> str:
    """How MLflow lists a parent run: `digits 2026-11-29 pcqat`; without a winner's name as long as the run goes on.

    Args:
        config: Name of the run config.
        start_ms: When the run began, in milliseconds since 1970; now without it.
        winner: The recipe to ship; empty where none meets the budget, None where that is not known yet.
    """
    day = time.strftime("%Y-%m-%d", time.localtime(None if start_ms is None else start_ms / 1000))
    return f"{config} {day}" + ("" if winner is None else f" {winner or NO_WINNER}")


def headline(results: Results) -> dict[str, float]:
    """The figures of a run's winner, of float32 and of the champion, as metrics of the parent run."""
    found: dict[str, float | None] = {
        "variants": len(results.variants),
        "admissible": sum(variant.rank is not None for variant in results.variants),
        "float32/accuracy": results.baseline,
    }
    by_recipe = {variant.recipe: variant for variant in results.variants}
    if results.winner:
        found |= figures_of("winner", by_recipe[results.winner])
    plain = next((one for one in results.variants if one.steps == ["float32"] and one.status == "ok"), None)
    if plain:
        found |= figures_of("float32", plain)
    if results.champion and results.champion.status == "ok":
        found |= figures_of("champion", results.champion)
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def figures_of(prefix: str, variant: VariantResult) -> dict[str, float | None]:
    """The figures of a variant that runs are compared by, grouped under a prefix and below it by target."""
    found: dict[str, float | None] = {
        f"{prefix}/size_bytes": variant.size_bytes,
        f"{prefix}/gzip_bytes": variant.gzip_bytes,
        f"{prefix}/accuracy": variant.accuracy,
        f"{prefix}/accuracy_drop": variant.accuracy_drop.value if variant.accuracy_drop else None,
        f"{prefix}/sparsity": variant.sparsity,
    }
    for target, measured in variant.measurements.items():
        place = f"{prefix}/{file_name(target)}"
        found |= {f"{place}/latency_{name}_ms": value for name, value in measured.latency_ms.items()}
        found[f"{place}/ratio_to_float32"] = measured.ratio_to_float32.value if measured.ratio_to_float32 else None
        for name in ("arena_bytes", "peak_memory_bytes", "realised_bytes"):
            found[f"{place}/{name}"] = getattr(measured, name)
    return found


def class_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The figure of each class, as metrics of a variant's run: `per_class/rain`."""
    values = evaluation.per_class[:MOST_CLASSES] if len(evaluation.per_class) <= MOST_CLASSES else []
    names = evaluation.interface.labels if evaluation.interface else []
    found: dict[str, float] = {}
    for at, value in enumerate(values):
        name = file_name(names[at])[:100] if at < len(names) else ""
        key = f"per_class/{name or at}"
        if value is not None and math.isfinite(value):
            found[f"{key}_{at}" if key in found else key] = value
    return found


def write_pictures(folder: Path, evaluation: Evaluation | None) -> None:
    """Put a variant's confusion matrix and the figures of its classes beside its evidence."""
    if evaluation is None:
        return
    for name, text in ((CONFUSION, confusion(evaluation)), (PER_CLASS, per_class(evaluation))):
        if text:
            write_text(folder / name, text)


def log_pictures(client: MlflowClient, run_id: str, results: Results) -> None:
    """Log a run's trade-off plots, where a page shows them one by one."""
    for name, text in trade_offs(results).items():
        client.log_text(run_id, text, f"plots/{name}")


def data_inputs(candidate: Candidate, experiment: str) -> list[Any]:
    """The data of a variant as MLflow's inputs: the split that set its ranges and the one that it was evaluated on.

    Args:
        candidate: The variant.
        experiment: Names the data.
    """
    evaluation = candidate.evaluation
    digests = {"calibration": candidate.variant.data_sha256}
    digests["evaluation"] = evaluation.data_sha256 if evaluation else ""
    samples = {"calibration": candidate.variant.calibration_samples}
    samples["evaluation"] = evaluation.samples if evaluation else 0
    return [
        data_input(f"{experiment} {name}", digest, name, samples[name]) for name, digest in digests.items() if digest
    ]


def data_input(name: str, digest: str, context: str, samples: int = 0, source: str = "") -> Any:
    """A data set as MLflow's input of a run; MLflow shows the first half of the digest.

    Args:
        name: What it is called.
        digest: Its SHA-256.
        context: What it was used for: training, calibration or evaluation.
        samples: How many it has, where that is known.
        source: Where it is.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    told = json.dumps({"uri": source, "sha256": digest} if source else {"sha256": digest})
    return DatasetInput(
        dataset=Dataset(
            name=name[:LONGEST_NAME],
            digest=digest[:LONGEST_DIGEST],
            source_type="litemill",
            source=told,
            profile=json.dumps({"samples": samples}) if samples else None,
        ),
        tags=[InputTag("mlflow.data.context", context)],
    )


def log_inputs(client: MlflowClient, run_id: str, inputs: Sequence[Any]) -> None:
    """Log data sets to a run, each once.

    Runs of one experiment share its data sets. Where two are the first to log the same one, the store refuses the
    slower; asked again, it finds the one that is there by then.
    """
    from mlflow.exceptions import MlflowException

    distinct = {(one.dataset.name, one.dataset.digest): one for one in inputs}
    for left in reversed(range(TRIES if distinct else 0)):
        try:
            client.log_inputs(run_id, datasets=list(distinct.values()))
        except MlflowException as error:
            if not left or not RACED.search(str(error)):
                raise
            time.sleep(random.uniform(*PAUSE))  # noqa: S311 (two that met once must not meet again)
        else:
            return
