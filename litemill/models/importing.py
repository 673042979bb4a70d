"""Bring a source model in: load, check against the data, save, and prove its float32 conversion on real samples."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts import read_manifest, staged
from litemill.convert import convert_bundle
from litemill.data import Splits
from litemill.errors import InputError
from litemill.evaluate import Runner
from litemill.evidence import ModelManifest, VariantManifest
from litemill.layout import TFLITE, VARIANT
from litemill.models.peek import check_fit
from litemill.models.source import load_source
from litemill.models.store import save_model
from litemill.spec import BASELINE
from litemill.steps import Step
from litemill.storage import digest, fetch

log = logging.getLogger(__name__)

SAMPLES = 128
"""Test samples that the baseline is verified on."""
TOLERANCE = 1e-3
"""Largest difference allowed, in standard deviations of the source's outputs; float32 rounding gives about 1e-5."""


def import_model(uri: str, dataset: Path, out: Path, baseline: Path, origin_sha256: str = "") -> ModelManifest:
    """Import a trained Keras model.

    Args:
        uri: Path or `gs://` address of the model.
        dataset: Dataset artifact: the model must take its samples.
        out: Folder of the Model artifact to write.
        baseline: Variants bundle to write, with the float32 conversion that every variant is compared with.
        origin_sha256: Digest of the file at `uri` where it is known already.

    Raises:
        InputError: The model can't be used, doesn't fit the data, or its conversion gives other outputs.
    """
    path = fetch(uri)
    data = Splits.open(dataset)
    facts, model = load_source(path)
    check_fit(facts, tuple(data.manifest.input_shape), "the data")
    _check_outputs(model, data, uri)
    manifest = ModelManifest(origin=uri, origin_sha256=origin_sha256 or digest(uri))
    with staged(out) as model_folder, staged(baseline) as bundle:
        manifest = save_model(model, manifest, model_folder)
        convert_bundle(model_folder, {BASELINE: [Step(name="float32")]}, bundle)
        variant = read_manifest(bundle / BASELINE / VARIANT, VariantManifest)
        if variant.status == "failed":
            raise InputError(f"cannot be converted to float32 TFLite: {variant.reason}", where=uri)
        error = _verify(model, bundle / BASELINE / TFLITE, data.test.x[:SAMPLES], uri)
    log.info("imported %s: %d parameters, conversion exact to %.1e of the spread", uri, manifest.parameters, error)
    return manifest


def relative_error(reference: NDArray[np.floating], outputs: NDArray[np.floating]) -> float:
    """Largest absolute difference in standard deviations of the reference, which an absolute tolerance would hide.

    Infinite where the reference is constant and the outputs differ, or where the outputs are not finite.
    """
    if not np.isfinite(outputs).all():
        return float("inf")
    difference, spread = float(np.abs(reference - outputs).max()), float(np.std(reference))
    if spread == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / spread


def _check_outputs(model: Any, data: Splits, uri: str) -> None:
    if len(model.outputs) != 1:
        raise InputError(f"has {len(model.outputs)} outputs; models with one are supported", where=uri)
    shape, classes = tuple(model.outputs[0].shape), data.manifest.classes
    if len(shape) != 2 or (shape[1] is not None and shape[1] < classes):
        raise InputError(f"gives outputs of shape {list(shape[1:])} for data with {classes} classes", where=uri)


def _verify(model: Any, tflite: Path, x: NDArray[np.float32], uri: str) -> float:
    """Compare the conversion with the Keras model on real samples; returns the relative error."""
    reference = np.asarray(model.predict(x, batch_size=32, verbose=0))
    if not np.isfinite(reference).all():
        raise InputError("gives NaN or infinite outputs on the test samples", where=uri)
    if np.ptp(reference, axis=0).max() == 0:
        fix = "Check that it is trained and that data.preprocessing is the one of its training"
        raise InputError("gives the same outputs for every sample", where=uri, fix=fix)
    error = relative_error(reference, Runner(tflite).run(x))
    if error > TOLERANCE:
        what = f"its float32 conversion differs from Keras by {error:.2g} of the outputs' spread"
        raise InputError(what, where=uri, fix="Report it with the model: the converter got an operation wrong")
    return error
