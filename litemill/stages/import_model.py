"""Bring a source model in: load, check against the data, save, and prove its conversion on real samples."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import read_manifest, staged
from litemill.artifacts.layout import TFLITE, VARIANT
from litemill.artifacts.storage import digest, fetch, resolve
from litemill.config.run import BASELINE, ModelSpec
from litemill.config.schemes import FLOAT32
from litemill.config.steps import Step
from litemill.config.written import model_of
from litemill.convert.bundle import convert_bundle
from litemill.data.splits import Splits
from litemill.errors import InputError
from litemill.evidence.sources import DatasetManifest, ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.models.ending import settled
from litemill.models.fit import check_fit
from litemill.models.likeness import computes_otherwise, relative_error
from litemill.models.sized import sized
from litemill.models.source import LoadedModel, load_source, outputs_of_keras
from litemill.models.store import save_graph, save_model, save_tflite
from litemill.runtime import Runner
from litemill.stages.rebuild import add_layers
from litemill.tasks import OutputIs, task_of

log = logging.getLogger(__name__)

SAMPLES = 128
"""Test samples that the baseline is verified on."""
NOT_TRAINED = "its layers were not rebuilt, as nothing trains"


def import_model(
    model: ModelSpec | Mapping[str, Any] | str | Path,
    dataset: str | Path,
    *,
    out: str | Path,
    baseline: str | Path,
    sha256: str = "",
    trains: bool = True,
) -> ModelManifest:
    """Bring a trained model in: load it, check it against the data, and prove its float32 conversion.

    Args:
        model: A path or address, or the `model` section of a run config.
        dataset: Folder that `prepare_data` wrote: the model must take its samples.
        out: Folder of the model to write, for `train` and `convert`; it must not exist yet.
        baseline: Folder of variants to write, with the float32 conversion that every variant is compared with.
        sha256: Digest of the model where it is known already, as `digest` gives it; it must be the same still.
        trains: Whether train-aware steps follow: for these the layers of a `.tflite` are rebuilt, which needs
            TensorFlow.

    Returns:
        The manifest of the model; `notes` say what was rewritten to bring it in.

    Raises:
        ConfigError: A key of `model` is wrong.
        InputError: The model cannot be used, does not fit the data, or its conversion gives other outputs.

    Example:
        >>> import litemill as lm
        >>> imported = lm.import_model("digits.keras", "data", out="model", baseline="baseline")
        >>> imported.status, imported.inputs[0].shape
        ('ok', [-1, 8, 8, 1])
    """
    spec = model_of(model)
    return _import(spec, Path(dataset), Path(out), Path(baseline), origin_sha256=sha256, trains=trains)


def _import(
    spec: ModelSpec, dataset: Path, out: Path, baseline: Path, *, origin_sha256: str, trains: bool
) -> ModelManifest:
    uri = spec.uri
    data = Splits.open(dataset)
    resolved = resolve(uri)
    path = fetch(resolved, sha256=origin_sha256)
    source = load_source(
        path, allow_unsafe=spec.allow_unsafe, from_quantized=spec.from_quantized, output=data.manifest.output
    )
    check_fit(source.facts, tuple(data.manifest.input_shape), "the data", data.manifest.inputs)
    source = sized(source, data.manifest.inputs or {"": data.manifest.input_shape})
    x = np.asarray(data.test.x[:SAMPLES])
    reference = _reference(source, x, data.manifest, uri)
    source = _proved(source, reference, x)
    rebuilds = source.facts.format == "tflite" and not source.facts.only_graph
    manifest = ModelManifest(
        origin=uri,
        resolved=resolved if resolved != uri else "",
        origin_sha256=origin_sha256 or digest(resolved),
        notes=[*source.notes, *[NOT_TRAINED] * (rebuilds and not trains)],
        output=source.judged[0],
        joined=list(source.judged[1:]),
        output_is=_output_is(source, data.manifest, reference, uri),
    )
    with staged(out) as folder, staged(baseline) as bundle:
        manifest = _saved(source, manifest, folder)
        error = _prove_baseline(folder, bundle, dataset, reference, x, uri)
        if rebuilds and trains:
            inputs = list(data.manifest.inputs)
            manifest = add_layers(folder, manifest, dataset, batch_norm=spec.restore_batch_norm, inputs=inputs)
    for note in manifest.notes:
        log.warning("%s: %s", uri, note)
    log.info("imported %s: %d parameters, conversion exact to %.1e of the spread", uri, manifest.parameters, error)
    return manifest


def _prove_baseline(
    folder: Path, bundle: Path, dataset: Path, reference: NDArray[np.float32], x: NDArray[np.float32], uri: str
) -> float:
    """Convert the float32 baseline and hold it to the source's outputs; its largest difference from them.

    Raises:
        InputError: It cannot be converted, or computes something else.
    """
    convert_bundle(folder, {BASELINE: [Step(name=FLOAT32.name)]}, bundle, dataset=dataset)
    variant = read_manifest(bundle / BASELINE / VARIANT, VariantManifest)
    if variant.status == "failed":
        raise InputError(f"cannot be converted to float32 TFLite: {variant.reason}", where=uri)
    outputs = Runner(bundle / BASELINE / TFLITE, output=variant.output).run(x)
    if difference := computes_otherwise(reference, outputs):
        what = f"its float32 conversion differs from the source by {difference}"
        raise InputError(what, where=uri, fix="Report it with the model: the converter got an operation wrong")
    return relative_error(reference, outputs)


def _saved(source: LoadedModel, manifest: ModelManifest, folder: Path) -> ModelManifest:
    """Write the Model artifact of a source in the form that there is of it."""
    if source.facts.format == "tflite":
        return save_tflite(source.export, manifest, folder)
    if source.keras is None:
        return save_graph(source.export, manifest, folder)
    return save_model(source.keras, manifest, folder)


def _reference(source: LoadedModel, x: NDArray[np.float32], data: DatasetManifest, uri: str) -> NDArray[np.float32]:
    """The source's own outputs on real samples, once they were found to fit the task."""
    outputs = source.predict(x)
    if len(outputs) != len(x) or not np.isfinite(outputs).all():
        raise InputError("gives NaN or infinite outputs on the test samples", where=uri)
    if obstacle := task_of(data.task).obstacle(outputs.shape[1:], data.reading()):
        raise InputError(obstacle, where=uri, fix=task_of(data.task).wants)
    if np.ptp(outputs, axis=0).max() == 0:
        fix = "Check that it is trained and that data.preprocessing is the one of its training"
        raise InputError("gives the same outputs for every sample", where=uri, fix=fix)
    return outputs


def _output_is(source: LoadedModel, data: DatasetManifest, reference: NDArray[np.float32], uri: str) -> OutputIs:
    """Whether outputs are logits or probabilities, where the task asks."""
    task = task_of(data.task)
    if task.decide is None or not task.labelled:
        return ""
    return settled(data.output_is, source.output_is, reference, uri)


def _proved(source: LoadedModel, reference: NDArray[np.float32], x: NDArray[np.float32]) -> LoadedModel:
    """Keep a rewritten model only if it computes what its source does; else go on with the source's graph."""
    if source.keras is None or not source.notes:
        return source
    difference = computes_otherwise(reference, outputs_of_keras(source.keras, x, source.judged))
    if not difference:
        return source
    reason = f"{'; '.join(source.notes)}: that differs from the source by {difference}"
    return replace(source, keras=None, notes=(reason,))
