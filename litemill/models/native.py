"""What reads model files in the child process of `litemill.process.contained`.

HDF5, zip archives, SavedModels, `.tflite`: each function takes a path and returns plain data, and whatever else happens
is the file's fault.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
from ai_edge_litert import schema_py_generated  # noqa: F401 (loaded here, before the time counts)

from litemill.artifacts.foreign import MIB, open_archive, read_member, unpacked_limit
from litemill.errors import InputError
from litemill.flatbuffer.reader import parse_model
from litemill.models.graph_ops import unknown_operations
from litemill.models.rebuild.obstacle import obstacle
from litemill.models.saved_model import GRAPH, KERAS_METADATA, parse, signatures
from litemill.models.tflite import ends_of, quantized_weights, read_float
from litemill.models.unpacked import without_conversions

CONFIG, METADATA = "config.json", "metadata.json"
TEXT = 64 * MIB
"""Bytes that a configuration may have."""


def read_h5(file: str) -> dict[str, str]:
    """The configuration in a Keras `.h5`, and the version of Keras that wrote it.

    Raises:
        InputError: It is damaged, holds weights only, reads other files or unpacks to too much.
    """
    path = Path(file)
    try:
        with h5py.File(path, "r") as opened:
            if zipfile.is_zipfile(path):
                raise InputError("is an HDF5 file and a zip archive at once", where=file)
            config, version = opened.attrs.get("model_config"), opened.attrs.get("keras_version", "")
            training = opened.attrs.get("training_config", "")
            if config is None:
                fix = "Save the whole model with model.save(path)"
                raise InputError("holds weights only, no model", where=file, fix=fix)
            _check_h5(opened, file, path.stat().st_size)
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"is truncated or damaged ({error})", where=file) from None
    return {"config": _text(config), "version": _text(version), "training": _text(training)}


def read_zip(file: str) -> dict[str, str]:
    """The configuration and the metadata of a `.keras` archive.

    Raises:
        InputError: It is damaged, no Keras archive, reads other files or unpacks to too much.
    """
    path = Path(file)
    with open_archive(path) as archive:
        names = archive.namelist()
        if CONFIG not in names or METADATA not in names:
            raise InputError("is a zip archive, but not a .keras model", where=file)
        if h5py.is_hdf5(path):
            raise InputError("is an HDF5 file and a zip archive at once", where=file)
        for name in (CONFIG, METADATA):
            if archive.getinfo(name).file_size > TEXT:
                raise InputError(f"its {name} has more than {TEXT // MIB} MiB", where=file)
        found = {name: read_member(archive, name) for name in (CONFIG, METADATA)}
        for name in names:
            content = read_member(archive, name)
            if name.endswith(".h5"):
                try:
                    with h5py.File(io.BytesIO(content), "r") as weights:
                        _check_h5(weights, file, path.stat().st_size)
                except (OSError, RuntimeError, KeyError) as error:
                    raise InputError(f"is damaged ({name}: {error})", where=file) from None
    return {"config": _text(found[CONFIG]), "metadata": _text(found[METADATA])}


def read_saved_model(folder: str) -> dict[str, Any]:
    """The signatures, the Keras metadata and the unsafe operations of a SavedModel.

    Raises:
        InputError: It is damaged.
    """
    path = Path(folder)
    saved = parse(path / GRAPH, "SavedModel")
    nodes = parse(path / KERAS_METADATA, "Metadata").nodes if (path / KERAS_METADATA).is_file() else []
    return {
        "signatures": signatures(saved),
        "metadata": [[node.node_path, node.metadata] for node in nodes],
        "unsafe": unknown_operations(saved),
    }


def read_tflite(file: str, from_quantized: bool) -> dict[str, Any]:
    """What a `.tflite` says: its inputs, how its weights are packed, and why it cannot be rebuilt.

    Inputs are under their names in its signature; nameless where it has none. See `litemill.models.tflite.read_float`
    for what it may raise.
    """
    found = read_float(Path(file), from_quantized=from_quantized)
    names = ends_of(Path(file))[0] or [""] * len(found.inputs)
    packed = Counter(weight.dtype for weight in found.weights if weight.dtype != "float32")
    return {
        "inputs": [info.model_dump() | {"name": name} for info, name in zip(found.inputs, names, strict=True)],
        "packed": ", ".join(f"{count} {dtype} weights" for dtype, count in packed.items()),
        "quantized": bool(quantized_weights(found)),
        "untrainable": _untrainable(Path(file), packed=bool(packed)),
    }


def _untrainable(path: Path, *, packed: bool) -> str:
    """Why the layers of a `.tflite` cannot be rebuilt, as far as its ops tell; a file that runs may have odd ones."""
    opened = without_conversions if packed else parse_model
    try:
        return obstacle(opened(path.read_bytes(), where=str(path)))
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        return f"its graph is not of a known form ({type(error).__name__}: {error})"


def _text(value: Any) -> str:
    """Text of an HDF5 attribute or a member.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    return value.decode() if isinstance(value, bytes) else str(value)


def _check_h5(opened: h5py.File, file: str, size: int) -> None:
    """Read all weights once, so that what is damaged or a bomb shows here, and refuse links to other files."""
    total, limit = 0, unpacked_limit(size)

    def link_refusal(name: str, link: Any) -> str | None:
        outside = isinstance(link, h5py.ExternalLink)
        return f"has a link to another file: {name!r} to {link.filename!r}" if outside else None

    def refusal(name: str, item: Any) -> str | None:
        nonlocal total
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return None
        if item.external or item.is_virtual:
            return f"keeps weights in another file: {name!r}"
        total += item.size * item.dtype.itemsize
        if total > limit:
            return f"unpacks to more than {limit / MIB:,.0f} MiB ({name!r} has the shape {list(item.shape)})"
        item[()]
        return None

    # A visitor that returns something ends the visit with it.
    if reason := opened.visititems_links(link_refusal) or opened.visititems(refusal):
        raise InputError(reason, where=file)
