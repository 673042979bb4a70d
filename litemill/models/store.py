"""The Model artifact: the Keras model for the next step and a SavedModel for the converter, or a `.tflite` alone."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litemill.artifacts.files import read_manifest, staged, write_manifest
from litemill.artifacts.layout import KERAS_MODEL, MODEL, SAVED_MODEL, TFLITE
from litemill.errors import InputError, StepFailed
from litemill.evidence.base import TensorInfo
from litemill.evidence.sources import ModelManifest
from litemill.flatbuffer import read_graph
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.tflite import ends_of
from litemill.slim.rewrite import canonical_digest

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every member of a `.keras` archive: the same model gives the same file."""


def load_model(folder: Path) -> Any:
    """Load the Keras model of a Model artifact, not compiled.

    Raises:
        StepFailed: The step that should have made it failed, or there is only a graph; with the reason.
        InputError: Not a Model artifact.
    """
    manifest = read_manifest(Path(folder) / MODEL, ModelManifest)
    if manifest.status == "failed":
        raise StepFailed(manifest.reason)
    if not manifest.trainable:
        raise StepFailed(f"train-aware steps need a Keras 2 model: {'; '.join(manifest.notes)}")
    path = Path(folder) / KERAS_MODEL
    if not path.is_file():
        raise InputError("no such file", where=str(path))
    return tf_keras().models.load_model(str(path), compile=False, safe_mode=True)


def save_model(model: Any, manifest: ModelManifest, out: Path) -> ModelManifest:
    """Write a Model artifact.

    Args:
        model: A built tf_keras model.
        manifest: What is known of it; shapes, parameters and digest are filled in here.
        out: Folder to write: `model.keras`, `saved_model/` with a free batch dimension, `model.json`.

    Returns:
        The manifest as written.
    """
    manifest = manifest.model_copy(
        update={
            "inputs": [_info(name, tensor) for name, tensor in zip(model.input_names, model.inputs, strict=True)],
            "outputs": [_info(name, tensor) for name, tensor in zip(model.output_names, model.outputs, strict=True)],
            "parameters": int(model.count_params()),
            "sha256": digest_of(model),
        }
    )
    with staged(out) as work:
        write_keras(model, work / KERAS_MODEL)
        _export(model, work / SAVED_MODEL)
        write_manifest(work / MODEL, manifest)
    return manifest


def save_graph(export: Callable[[Path], None], manifest: ModelManifest, out: Path) -> ModelManifest:
    """Write a Model artifact that has a SavedModel only: train-aware steps can't work on it, conversions can.

    Args:
        export: Writes the SavedModel into the folder it is given.
        manifest: What is known of it, `notes` saying why there is no Keras model.
        out: Folder to write: `saved_model/`, `model.json`.

    Returns:
        The manifest as written.
    """
    with staged(out) as work:
        export(work / SAVED_MODEL)
        loaded = tensorflow().saved_model.load(str(work / SAVED_MODEL))
        serve = loaded.signatures["serving_default"]
        inputs, outputs = serve.structured_input_signature[1], serve.structured_outputs
        manifest = manifest.model_copy(
            update={
                "trainable": False,
                "inputs": [_info(name, spec) for name, spec in inputs.items()],
                "outputs": [_info(name, spec) for name, spec in outputs.items()],
                "parameters": sum(int(np.prod(variable.shape)) for variable in serve.variables),
                "sha256": _graph_digest(serve),
            }
        )
        write_manifest(work / MODEL, manifest)
    return manifest


def save_tflite(export: Callable[[Path], None], manifest: ModelManifest, out: Path) -> ModelManifest:
    """Write a Model artifact that is a float `.tflite`: post-training recipes work on it without TensorFlow.

    Args:
        export: Writes the file to the path it is given.
        manifest: What is known of it, `notes` saying why there is no Keras model.
        out: Folder to write: `model.tflite`, `model.json`.

    Returns:
        The manifest as written.
    """
    with staged(out) as work:
        export(work / TFLITE)
        graph, ends = read_graph(work / TFLITE), ends_of(work / TFLITE)
        # A single input or output keeps the name of its tensor, as it was before there were several.
        names = [
            found if len(found) == len(infos) > 1 else [info.name for info in infos]
            for found, infos in zip(ends, (graph.inputs, graph.outputs), strict=True)
        ]
        manifest = manifest.model_copy(
            update={
                "trainable": False,
                "inputs": [_free_batch(info, name) for info, name in zip(graph.inputs, names[0], strict=True)],
                "outputs": [_free_batch(info, name) for info, name in zip(graph.outputs, names[1], strict=True)],
                "parameters": sum(int(np.prod(weight.shape)) for weight in graph.weights),
                "sha256": canonical_digest((work / TFLITE).read_bytes()),
            }
        )
        write_manifest(work / MODEL, manifest)
    return manifest


def _free_batch(info: TensorInfo, name: str) -> TensorInfo:
    return info.model_copy(update={"shape": [-1, *info.shape[1:]], "name": name})


def digest_of(model: Any) -> str:
    """SHA-256 of a model's configuration and weights: equal for equal models, whatever file they came from."""
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.weights:
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _graph_digest(serve: Any) -> str:
    """SHA-256 of a signature's operations and variables; the SavedModel's own bytes hold random identifiers."""
    digest = hashlib.sha256()
    for node in serve.graph.as_graph_def().node:
        digest.update(f"{node.op} {node.name}\n".encode())
    for variable in serve.variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def write_keras(model: Any, path: Path) -> None:
    """Save a `.keras` archive without the time of day in it, so that the same model gives the same bytes."""
    model.save(str(path), save_format="keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    metadata["date_saved"] = "1980-01-01@00:00:00"
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)


def _info(name: str, tensor: Any) -> TensorInfo:
    shape = [-1 if size is None else int(size) for size in tensor.shape]
    return TensorInfo(name=name, shape=[-1, *shape[1:]], dtype=tensor.dtype.name)


def _export(model: Any, folder: Path) -> None:
    """Write a SavedModel for inference with one signature, free in its batch, named like the model's tensors."""
    tf = tensorflow()
    signature = [
        tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
    ]

    def serve(*inputs: Any) -> dict[str, Any]:
        outputs = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        return dict(zip(model.output_names, tf.nest.flatten(outputs), strict=True))

    archive = tf_keras().export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(str(folder))
