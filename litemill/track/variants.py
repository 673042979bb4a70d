"""Child runs: one for each recipe, with what was asked (params), what was found (metrics) and the files (artifacts)."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemill import __version__
from litemill.config.names import file_name
from litemill.evidence.outcome import Measurement
from litemill.select import Candidate
from litemill.select.evidence_folders import lay_out, read_candidates
from litemill.track.pages import class_metrics, data_inputs, log_inputs, write_pictures
from litemill.track.runs import KIND, NAME, NOTE, PARENT, REASON, RECIPE, SOURCE, STATUS, VERSION, children, flatten
from litemill.track.spool import here, tracked
from litemill.track.store import store_errors, write

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_variants(parent_run_id: str, variants: Path, evaluation: Path, measurements: Sequence[Path]) -> list[str]:
    """Log each recipe of a bundle as a child run of the pipeline's run.

    Logged again for the same parent (a retried task), a recipe's earlier run is replaced.

    Args:
        parent_run_id: From `start_run`.
        variants: Bundle: a folder a recipe with `variant.json` and, unless it failed, `model.tflite`.
        evaluation: A folder a recipe with `evaluation.json` and `samples.npz`.
        measurements: One folder for each target: in it a folder a recipe with `measurement.json`.

    Returns:
        The ids of the child runs, in the order of the recipes' names; none for a champion that there is not yet.

    Raises:
        InputError: The bundle holds no variant, or a manifest cannot be read.
        DamagedFile: A `.tflite` is not the one its manifest speaks of.
        LitemillError: The store cannot be used.
    """
    read = read_candidates(variants, evaluation, measurements)
    candidates = [one for one in read if one.variant.champion is None or one.variant.champion.there]
    if spool := here():
        spool.keep_variants(candidates)
    return tracked(lambda: log_candidates(parent_run_id, candidates), [])


def log_candidates(parent_run_id: str, candidates: Sequence[Candidate], *, keep: bool = False) -> list[str]:
    """Log candidates as child runs, and return their ids in the same order.

    Args:
        parent_run_id: From `start_run`.
        candidates: As they were read.
        keep: Whether a recipe's earlier run stays where it is complete and about the same file.
    """
    with store_errors("log variants") as client, tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        experiment = client.get_run(parent_run_id).info.experiment_id
        known: dict[str, list[Any]] = {}
        for run in children(client, parent_run_id):
            known.setdefault(run.data.tags.get(RECIPE, ""), []).append(run)
        ids = []
        for candidate in candidates:
            earlier = known.get(candidate.recipe, [])
            whole = next((run for run in earlier if keep and _is_of(run, candidate)), None)
            for run in earlier:
                if run is not whole:
                    client.delete_run(run.info.run_id)
            kept = str(whole.info.run_id) if whole else ""
            ids.append(kept or _log(client, experiment, parent_run_id, candidate, Path(scratch)))
        return ids


def _is_of(run: Any, candidate: Candidate) -> bool:
    """Whether a run is complete, and about the file of a candidate: it is closed when all is logged."""
    closed = run.info.status == ("FAILED" if candidate.failure else "FINISHED")
    return bool(closed and run.data.params.get("sha256", "") == candidate.variant.sha256)


def _log(client: MlflowClient, experiment: str, parent: str, candidate: Candidate, scratch: Path) -> str:
    tags = {
        PARENT: parent,
        NAME: candidate.recipe,
        SOURCE: "litemill",
        KIND: "variant",
        VERSION: __version__,
        RECIPE: candidate.recipe,
    }
    run_id = str(client.create_run(experiment, tags=tags).info.run_id)
    write(client, run_id, params=params_of(candidate), metrics=metrics_of(candidate), tags=_tags(candidate))
    log_inputs(client, run_id, data_inputs(candidate, client.get_experiment(experiment).name))
    folder = lay_out(candidate, scratch / candidate.recipe, samples=True)
    write_pictures(folder, candidate.evaluation)
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, "FAILED" if candidate.failure else "FINISHED")
    return run_id


def params_of(candidate: Candidate) -> dict[str, str]:
    """What was asked: the recipe with the options of its steps, and the digests of what went in and came out."""
    variant = candidate.variant
    asked: dict[str, Any] = {
        "recipe": variant.recipe,
        "steps": " → ".join(variant.steps),
        "scheme": variant.scheme,
        "seed": variant.seed,
        "calibration_samples": variant.calibration_samples,
        "model_sha256": variant.model_sha256 or None,
        "calibration_sha256": variant.data_sha256 or None,
        "sha256": variant.sha256 or None,
        "metric": candidate.evaluation.metric if candidate.evaluation else None,
        "evaluation.kernels": candidate.evaluation.kernels if candidate.evaluation else None,
        variant.scheme: variant.options,
        "version": variant.versions,
    }
    for step in variant.train_steps:
        asked.setdefault(step.step, step.options)
    return flatten(asked)


def metrics_of(candidate: Candidate) -> dict[str, float]:
    """What was found out, as numbers; those of a target are grouped under its name (`host/latency_p50_ms`)."""
    variant, evaluation = candidate.variant, candidate.evaluation
    found: dict[str, float | None] = {}
    if variant.status == "ok":
        found |= {
            "size_bytes": variant.size_bytes,
            "gzip_bytes": variant.gzip_bytes,
            "zstd_bytes": variant.zstd_bytes,
            "sparsity": variant.graph.sparsity if variant.graph else None,
            "conversion_seconds": variant.seconds,
        }
    if evaluation and evaluation.status == "ok":
        found |= class_metrics(evaluation)
        found |= {"accuracy": evaluation.value, "agreement": evaluation.agreement, "test_samples": evaluation.samples}
        if evaluation.drop:
            low, high = evaluation.drop.ci
            found |= {
                "accuracy_drop": evaluation.drop.value,
                "accuracy_drop_ci_low": low,
                "accuracy_drop_ci_high": high,
            }
    for target, measurement in candidate.measurements.items():
        if measurement.status == "ok":
            found |= {f"{file_name(target)}/{name}": value for name, value in _measured(measurement).items()}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _measured(measurement: Measurement) -> dict[str, float | None]:
    found: dict[str, float | None] = {f"latency_{name}_ms": value for name, value in measurement.latency_ms.items()}
    if measurement.ratio_to_float32:
        low, high = measurement.ratio_to_float32.ci
        found |= {
            "ratio_to_float32": measurement.ratio_to_float32.value,
            "ratio_to_float32_ci_low": low,
            "ratio_to_float32_ci_high": high,
        }
    return found | {
        "init_ms": measurement.init_ms,
        "first_inference_ms": measurement.first_inference_ms,
        "peak_memory_bytes": measurement.peak_memory_bytes,
        "arena_bytes": measurement.arena_bytes,
        "realised_bytes": measurement.realised_bytes,
    }


def _tags(candidate: Candidate) -> dict[str, str]:
    failed = {target: item for target, item in candidate.measurements.items() if item.status == "failed"}
    tags = {STATUS: "failed" if candidate.failure else "ok"}
    tags |= {f"litemill.{file_name(target)}.kind": item.kind for target, item in candidate.measurements.items()}
    tags |= {f"litemill.{file_name(target)}.reason": item.reason for target, item in failed.items()}
    lines = [f"`{' → '.join(candidate.variant.steps)}`"]
    if candidate.failure:
        tags[REASON] = candidate.failure
        lines.append(f"**Failed.** {candidate.failure}")
    lines += [f"**{target} failed.** {item.reason}" for target, item in failed.items()]
    return tags | {NOTE: "\n\n".join(lines)}
