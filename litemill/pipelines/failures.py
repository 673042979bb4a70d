"""What is left in the place of a failed task's outputs, so that everything that does not need them goes on.

A failed step, conversion, evaluation or measurement becomes failed entries with its reason: the recipes behind it are
named in the table, the report and MLflow like those that cannot work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.dsl.executor import create_artifact_instance

from litemill.artifacts.failure import leave_failed_variants, leave_failure
from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import EVALUATION, MEASUREMENT, MODEL, VARIANT
from litemill.config.run import CHAMPION
from litemill.config.targets import parse_target
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.sources import ModelManifest, StepRecord
from litemill.evidence.variant import VariantManifest

Arguments = Mapping[str, Any]


def stand_ins(task: str, component: str, arguments: Arguments, inputs: Any, reason: str) -> dict[str, Any] | None:
    """Outputs that take the place of those of a failed task.

    Args:
        task: Its name.
        component: Its function.
        arguments: What it was called with: parameters and KFP artifacts.
        inputs: Its executor input, which says where its outputs should be.
        reason: Its true error.

    Returns:
        Outputs by name; None where nothing can go on without it.
    """
    leave = LEFT.get(component)
    if leave is None or (component == "evaluate" and "reference" not in arguments):
        return None  # without the baseline's own evaluation there is nothing to compare with
    outputs: dict[str, Any] = dict.fromkeys(inputs.outputs.parameters, "")
    for name, listed in inputs.outputs.artifacts.items():
        runtime = json_format.MessageToDict(listed.artifacts[0])
        outputs[name] = create_artifact_instance(runtime)
        place = Path(listed.artifacts[0].uri)
        _remove(place)
        if runtime["type"]["schemaTitle"] in ("system.Metrics", "system.Markdown"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"Task {task} failed: {reason}\n" if component == "doctor" else "{}", encoding="utf-8")
            continue
        place.mkdir(parents=True)
        leave_failure(place, task, reason)
        leave(place, arguments, f"task {task} failed: {reason}")
    return outputs


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _model(step: str, place: Path, arguments: Arguments, reason: str) -> None:
    before = read_manifest(Path(arguments["model"].uri) / MODEL, ModelManifest)
    record = StepRecord(step=step, options=dict(arguments["options"]))
    failed = ModelManifest(
        status="failed",
        reason=reason,
        origin=before.origin,
        origin_sha256=before.origin_sha256,
        steps=[*before.steps, record],
    )
    write_manifest(place / MODEL, failed)


def _bundle(place: Path, arguments: Arguments, reason: str) -> None:
    before = arguments.get("bundle")
    for folder in Path(before.uri).iterdir() if before else ():
        if folder.is_dir():
            shutil.copytree(folder, place / folder.name)
    leave_failed_variants(place, arguments["recipes"], reason, seed=int(arguments["seed"]))


def _champion(place: Path, arguments: Arguments, reason: str) -> None:
    known = ChampionVersion(
        name=arguments["registered_model"], version=arguments["version"], sha256=arguments["sha256"]
    )
    failed = VariantManifest(recipe=CHAMPION, steps=[], scheme="", champion=known, status="failed", reason=reason)
    write_manifest(place / CHAMPION / VARIANT, failed)


def _variants(arguments: Arguments) -> list[VariantManifest]:
    folder = Path(arguments["variants"].uri)
    return [read_manifest(path, VariantManifest) for path in sorted(folder.glob(f"*/{VARIANT}"))]


def _evaluation(place: Path, arguments: Arguments, reason: str) -> None:
    for variant in _variants(arguments):
        why = variant.reason or reason
        failed = Evaluation(recipe=variant.recipe, status="failed", reason=why, sha256=variant.sha256)
        write_manifest(place / variant.recipe / EVALUATION, failed)


def _measurement(place: Path, arguments: Arguments, reason: str) -> None:
    target = parse_target(arguments["target"]).name
    for variant in _variants(arguments):
        why = variant.reason or reason
        failed = Measurement(recipe=variant.recipe, target=target, status="failed", reason=why, sha256=variant.sha256)
        write_manifest(place / variant.recipe / MEASUREMENT, failed)


def _nothing(place: Path, arguments: Arguments, reason: str) -> None:
    """No folder is left."""


LEFT: dict[str, Callable[[Path, Arguments, str], None]] = {
    "doctor": _nothing,
    "prune": partial(_model, "prune"),
    "cluster": partial(_model, "cluster"),
    "quantize_aware_train": partial(_model, "qat"),
    "finetune": partial(_model, "finetune"),
    "champion": _champion,
    "ptq": _bundle,
    "int8_convert": _bundle,
    "evaluate": _evaluation,
    "benchmark": _measurement,
    "log_variants": _nothing,
}
"""What a component's failure leaves in each folder it should have written; without the others nothing can go on."""
