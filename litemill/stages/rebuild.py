"""Give an imported `.tflite` the layers that train-aware steps need, or say why it has none."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import KERAS_MODEL, MODEL, TFLITE, VARIANT
from litemill.config.deploy import Deploy
from litemill.config.schemes import FLOAT32
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.evidence.sources import ModelManifest, RebuildReport
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer import read_graph
from litemill.models.rebuild.worker import NAME, RebuildJob
from litemill.process.isolation import run_isolated

log = logging.getLogger(__name__)

TIME_LIMIT = 900.0
"""Seconds that rebuilding may take, TensorFlow's import included."""
TRANSPOSE = "TRANSPOSE"
AGAIN, MADE = "again", "made"
NOT_REBUILT = "its layers cannot be rebuilt"


def add_layers(
    folder: Path, manifest: ModelManifest, dataset: Path, *, batch_norm: bool, inputs: Sequence[str] = ()
) -> ModelManifest:
    """Add the rebuilt Keras model to the Model artifact of a `.tflite`, if it computes what the file does.

    It is built and proved in a process of its own; whatever goes wrong there costs the train-aware steps alone.

    Args:
        folder: The artifact, with `model.tflite`; `model.keras` is written into it.
        manifest: Of the artifact.
        dataset: Dataset artifact.
        batch_norm: Whether BatchNormalization is put back.
        inputs: Names of the inputs by the data, of several.

    Returns:
        The manifest with what was found; its notes say it in words.
    """
    with tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        work = Path(scratch)
        job = RebuildJob(
            tflite=(folder / TFLITE).absolute(),
            dataset=dataset.absolute(),
            inputs=list(inputs),
            batch_norm=batch_norm,
            out=work / MADE,
            report=work / "report.json",
        )
        outcome = run_isolated(worker_module(), [job.model_dump(mode="json")], time_limit=TIME_LIMIT)[NAME]
        found: dict[str, Any] = {"notes": [*manifest.notes, f"{NOT_REBUILT}: {outcome.reason}"]}
        if not outcome.reason:
            report = read_manifest(job.report, RebuildReport)
            ops = read_graph(folder / TFLITE).ops
            report.ops = _changed_ops(ops, job.out, work)
            if TRANSPOSE in ops:
                report.notes.append(
                    f"the file changes layouts at run time, which costs latency: {ops[TRANSPOSE]} × TRANSPOSE"
                )
            shutil.copyfile(job.out / KERAS_MODEL, folder / KERAS_MODEL)
            found = {"trainable": True, "rebuilt": report, "notes": [*manifest.notes, *told(report)]}
    manifest = manifest.model_copy(update=found)
    write_manifest(folder / MODEL, manifest)
    return manifest


def worker_module() -> str:
    """Name of the module that rebuilds; imported at all so that cache keys know its code."""
    from litemill.models.rebuild import worker

    return worker.__name__


def told(report: RebuildReport) -> list[str]:
    """What a reader should know of a rebuilt model, as sentences without a full stop."""
    worst = max(report.error.values(), default=0.0)
    found = [f"its {report.layers} layers were rebuilt: their outputs differ by {worst:.1g} of the spread at most"]
    if report.batch_norm:
        found.append(f"BatchNormalization was put back in {len(report.batch_norm)} places, for training only")
    changed = [f"{name} {before} → {after}" for name, (before, after) in report.ops.items()]
    if changed:
        found.append(f"converted again it has other ops than the file: {', '.join(changed)}")
    return [*found, *report.notes]


def _changed_ops(before: dict[str, int], rebuilt: Path, work: Path) -> dict[str, tuple[int, int]]:
    """Ops by type of which the rebuilt model, converted again, has another number than the file: before and after."""
    convert_bundle(rebuilt, {AGAIN: [Step(name=FLOAT32.name)]}, work / AGAIN, deploy=Deploy(slim=False))
    variant = read_manifest(work / AGAIN / AGAIN / VARIANT, VariantManifest)
    after = variant.graph.ops if variant.graph else {}
    if variant.reason:
        log.warning("the rebuilt layers cannot be converted: %s", variant.reason)
        return {}
    names = sorted({*before, *after})
    return {name: (before.get(name, 0), after.get(name, 0)) for name in names if before.get(name) != after.get(name)}
