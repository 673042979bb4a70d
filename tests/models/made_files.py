"""Model files written without Keras, so that they can hold what Keras would not write."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py

from litemill.models.saved_model import _classes as messages

Config = dict[str, Any]


def as_keras2(folder: Path, config: Config) -> Path:
    return as_archive(folder, config, "2.21.0")


def as_keras3(folder: Path, config: Config) -> Path:
    return as_archive(folder, config, "3.15.1")


def as_archive(folder: Path, config: Config, version: str) -> Path:
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
    return folder / "m.keras"


def as_h5(folder: Path, config: Config) -> Path:
    return as_hdf5(folder, config, "2.15.0")


def as_h5_keras3(folder: Path, config: Config) -> Path:
    return as_hdf5(folder, config, "3.15.1")


def as_hdf5(folder: Path, config: Config, version: str) -> Path:
    config = copy.deepcopy(config)
    training = config.pop("compile_config", None)
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version
        if training:
            file.attrs["training_config"] = json.dumps(training)
    return folder / "m.h5"


def as_saved_model(folder: Path, *nodes: Config, ops: tuple[str, ...] = (), functions: tuple[str, ...] = ()) -> Path:
    """A SavedModel folder with a graph of some operations, and a node of Keras metadata for each configuration."""
    saved = messages()["SavedModel"]()
    meta = saved.meta_graphs.add()
    meta.signature_def["serving_default"].inputs["image"].dtype = 1
    meta.signature_def["serving_default"].inputs["image"].tensor_shape.dim.add(size=-1)
    meta.signature_def["serving_default"].outputs["output"].name = "out:0"
    meta.graph_def.node.add(name="out", op="Identity")
    for op in ops:
        meta.graph_def.node.add(name=f"node_{op}", op=op)
    for op in functions:
        function = meta.graph_def.library.function.add()
        function.signature.name = f"call_{op}"
        function.node_def.add(name="inside", op=op)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    if nodes:
        metadata = messages()["Metadata"]()
        for position, node in enumerate(nodes):
            path = "root" if not position else f"root.layer-{position}"
            metadata.nodes.add(node_path=path, metadata=json.dumps(node))
        (folder / "keras_metadata.pb").write_bytes(metadata.SerializeToString())
    return folder
