"""Put the winner of a run into MLflow's model registry, with its evidence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from litemill import __version__
from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import RESULTS, TFLITE, TFLM_TFLITE, VARIANT, VARIANTS
from litemill.artifacts.proof import check_files
from litemill.config.run import CHAMPION, Promote
from litemill.errors import InputError, StepFailed
from litemill.evidence.variant import VariantManifest
from litemill.select import Candidate
from litemill.select.evidence_folders import lay_out, read_candidate
from litemill.select.results import Results
from litemill.track.flavor import save_model
from litemill.track.promotion import CHALLENGER, ask_gate, note
from litemill.track.registry import SHA256, aliases_of, versions_of
from litemill.track.runs import RECIPE, children
from litemill.track.spool import Register, here, tracked
from litemill.track.store import MAX_TAG, store_errors, write

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOGGED = "litemill.logged_model"
"""Tag of a variant's run: id of the MLflow model that it was logged as."""
REGISTERED, PROMOTION, PROMOTED = "litemill.registered_model", "litemill.promotion", "litemill.promoted"
"""Tags of the parent run: which version its winner became, what was decided about it, whether it is the champion."""


class Registration(BaseModel):
    """What became of a winner in the registry."""

    name: str
    version: str
    sha256: str
    new: bool = Field(description="whether the version was made now; the same file is registered once")
    promoted: bool = Field(description="whether the alias champion moved to it now")
    champion: str = Field(description="version of the champion now; empty where there is none")
    before: str = Field("", description="version of the champion before; empty where there was none")
    reason: str = Field(description="why the champion moved, or why it did not")


def register(
    results: str | Path, registered_model: str, *, run_id: str = "", promote: Promote = "gate"
) -> Registration:
    """Register the winner of a run as a version of a model, and let the gate decide whether it becomes the champion.

    The version has the alias `challenger`. A file that is registered already stays the version that it is.

    Args:
        results: Folder with `results.json` and `variants/`, as `run` and `compare` write it.
        registered_model: Name in MLflow's model registry; made where it is not there.
        run_id: The parent run; the one that `results.json` names by default.
        promote: `gate` moves the alias `champion` where the winner was compared with the present one and is not worse
            (the first winner becomes the first champion); `manual` leaves that to `litemill promote`.

    Returns:
        The version, and what was decided.

    Raises:
        StepFailed: No variant won, so there is nothing to register.
        DamagedFile: The winner's file is not the one that was judged.
        InputError: The run is not known, or holds no such variant.
        LitemillError: The store cannot be used.
    """
    folder = Path(results)
    found = read_manifest(folder / RESULTS, Results)
    if not found.winner:
        raise StepFailed("no variant met the budget, so there is nothing to register", where=str(folder))
    parent = run_id or found.mlflow_run_id
    if not parent and here() is None:
        raise InputError("names no MLflow run", where=str(folder / RESULTS), fix="Register what a run left")
    winner = read_candidate(folder / VARIANTS / found.winner)
    check_files(folder / VARIANTS / found.winner, winner.variant)
    if spool := here():
        spool.keep("register", Register(registered_model=registered_model, promote=promote))
    later = Registration(
        name=registered_model,
        version="",
        sha256=winner.variant.sha256,
        new=False,
        promoted=False,
        champion="",
        reason="MLflow did not answer: `litemill sync` registers it",
    )
    return tracked(lambda: _register(folder, found, winner, parent, later, promote), later)


def _register(
    folder: Path, found: Results, winner: Candidate, parent: str, later: Registration, promote: Promote
) -> Registration:
    registered_model = later.name
    with store_errors(f"register the winner as {registered_model}") as client:
        version, new = _version(client, registered_model, winner, found, parent)
        tags = client.get_run(parent).data.tags
        if tags.get(REGISTERED) == f"models:/{registered_model}/{version}":  # a task that is tried again, a second sync
            champion = aliases_of(client, registered_model).get(CHAMPION, "")
            return later.model_copy(
                update={"version": version, "champion": champion, "reason": tags.get(PROMOTION, "")}
            )
        client.set_registered_model_alias(registered_model, CHALLENGER, version)
        move = ask_gate(client, registered_model, version, compared=_compared(folder), manual=promote == "manual")
        note(client, registered_model, move)
        registration = Registration(
            name=registered_model,
            version=version,
            sha256=winner.variant.sha256,
            new=new,
            promoted=move.moved,
            champion=aliases_of(client, registered_model).get(CHAMPION, ""),
            before=move.before,
            reason=move.reason,
        )
        _tell_run(client, parent, registration)
    return registration


def _compared(folder: Path) -> str | None:
    """Version of the champion that the winner was compared with; empty where there was none, None where none was."""
    place = folder / VARIANTS / CHAMPION / VARIANT
    if not place.is_file():
        return ""
    manifest = read_manifest(place, VariantManifest)
    known = manifest.champion
    return known.version if known and manifest.status == "ok" else None


def _version(client: MlflowClient, name: str, winner: Candidate, results: Results, parent: str) -> tuple[str, bool]:
    """The version of the registry that holds the winner's file, and whether it was made now."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"litemill.version": __version__})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = [one for one in versions_of(client, name) if one.tags.get(SHA256) == winner.variant.sha256]
    if same:
        return str(max(int(one.version) for one in same)), False
    child = next((run for run in children(client, parent) if run.data.tags.get(RECIPE) == winner.recipe), None)
    if child is None:
        raise InputError(f"has no run of the recipe {winner.recipe!r}", where=f"MLflow run {parent}")
    model_id = child.data.tags.get(LOGGED) or log_winner(client, child.info, winner)
    made = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=child.info.run_id,
        tags=evidence_tags(winner, results, parent),
        description=_described(winner, results),
        model_id=model_id,
    )
    return str(made.version), True


def log_winner(client: MlflowClient, run: Any, winner: Candidate) -> str:
    """Log the winner as an MLflow model of its run, and return the model's id."""
    from mlflow.models import Model

    model = client.create_logged_model(
        run.experiment_id, name="model", source_run_id=run.run_id, tags={RECIPE: winner.recipe}, model_type="tflite"
    )
    with tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        evidence, saved = Path(scratch) / "evidence", Path(scratch) / "model"
        lay_out(winner, evidence)
        file = next(path for path in winner.files if path.name == TFLITE)
        has_tables = winner.variant.lut is not None and winner.variant.lut.applied
        tables = file.with_name(TFLM_TFLITE) if has_tables else None
        interface = winner.evaluation.interface if winner.evaluation else None
        described = Model(artifact_path=model.artifact_location, run_id=run.run_id, model_id=model.model_id)
        save_model(file, saved, interface=interface, evidence=evidence, tables=tables, mlflow_model=described)
        client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, "READY")
    write(client, run.run_id, tags={LOGGED: str(model.model_id)})
    return str(model.model_id)


def evidence_tags(winner: Candidate, results: Results, parent: str) -> dict[str, str]:
    """What was found about a winner, as tags of its version."""
    variant, evaluation = winner.variant, winner.evaluation
    row = next((one for one in results.variants if one.recipe == winner.recipe), None)
    found: dict[str, Any] = {
        SHA256: variant.sha256,
        RECIPE: winner.recipe,
        "litemill.steps": " → ".join(variant.steps),
        "litemill.parent_run": parent,
        "litemill.version": __version__,
        "litemill.size_bytes": variant.size_bytes,
        "litemill.gzip_bytes": variant.gzip_bytes,
        "litemill.tables_sha256": variant.lut.sha256 if variant.lut else "",
        "litemill.model_sha256": variant.model_sha256,
        "litemill.objective": results.objective,
        "litemill.reason": results.reason,
        "litemill.verdict": row.verdict if row else "",
    }
    if evaluation:
        found |= {
            "litemill.metric": evaluation.metric,
            "litemill.accuracy": repr(evaluation.value),
            "litemill.data_sha256": evaluation.data_sha256,
            "litemill.test_samples": evaluation.samples,
        }
        if evaluation.drop:
            low, high = evaluation.drop.ci
            found["litemill.accuracy_drop"] = f"{evaluation.drop.value!r} [{low!r}, {high!r}]"
    for target, measured in winner.measurements.items():
        if "p50" in measured.latency_ms:
            found[f"litemill.latency_p50_ms.{target}"] = f"{measured.latency_ms['p50']!r} ({measured.kind})"
    longest = min(MAX_TAG, 5000)
    return {_tag_name(name): str(value)[:longest] for name, value in found.items() if str(value)}


def _tag_name(name: str) -> str:
    """A name as MLflow takes it in a tag: `ssh://pi` has characters that it refuses."""
    return "".join(letter if letter.isalnum() or letter in "._-/ " else "_" for letter in name)


def _described(winner: Candidate, results: Results) -> str:
    metric = winner.evaluation
    value = f", {metric.metric} {metric.value:.4f}" if metric else ""
    steps = " → ".join(winner.variant.steps)
    return f"`{winner.recipe}` ({steps}): {winner.variant.size_bytes:,} bytes{value}. {results.reason}."


def _tell_run(client: MlflowClient, parent: str, registration: Registration) -> None:
    address = f"models:/{registration.name}/{registration.version}"
    decided = {PROMOTED: str(registration.promoted).lower(), PROMOTION: registration.reason}
    write(client, parent, tags={REGISTERED: address, **decided})
