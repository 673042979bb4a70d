"""Look into a model without TensorFlow: its kind, its layers, its inputs, and whether it is safe to load.

Whatever parses a binary format does so in a child process with limits (`litemill.process.contained`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litemill.artifacts.foreign import is_folder, require_file
from litemill.errors import InputError
from litemill.evidence.base import TensorInfo
from litemill.models.facts import Format, ModelFacts, keras_facts, saved_model_facts
from litemill.models.locate import model_inside
from litemill.models.saved_model import GRAPH, KERAS_METADATA, served
from litemill.models.trusted import TRUST_FIX, findings, refuse_unknown
from litemill.process.contained import contained
from litemill.process.limits import Limits

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TFLITE_MAGIC = b"TFL3"  # behind the first four bytes
READERS = "litemill.models.native"


def peek(path: Path, *, allow_unsafe: bool = False, from_quantized: bool = False) -> ModelFacts:
    """Read what a model says about itself.

    Args:
        path: A `.keras`, `.h5` or float `.tflite` file, a SavedModel folder, or a folder that holds one of these.
        allow_unsafe: Accept what may run code when it is loaded.
        from_quantized: Accept a `.tflite` that is quantized.

    Raises:
        InputError: No such file, not a model, damaged, quantized already, or unsafe: it names a class, a function or an
            operation that is not known.
    """
    path = Path(path)
    if is_folder(path):
        return _peek_folder(path, allow_unsafe, from_quantized)
    with require_file(path).open("rb") as stream:
        magic = stream.read(8)
    if magic[4:] == TFLITE_MAGIC:
        return _peek_tflite(path, from_quantized)
    if magic == HDF5_MAGIC:
        found = contained(f"{READERS}:read_h5", path, where=str(path))
        version = found["version"] or "1"  # Keras 1 wrote none
        kind: Format = "h5_keras3" if _is_keras3(version, path) else "h5"
        training = {"training_config": _json(found["training"], path)} if found["training"] else {}
    elif magic[:2] == b"PK":
        found = contained(f"{READERS}:read_zip", path, where=str(path))
        version = str(_json(found["metadata"], path).get("keras_version", "3"))
        kind, training = "keras3" if _is_keras3(version, path) else "keras2", {}
    else:
        fix = "Give a .keras or .h5 file that Keras saved, or a .tflite"
        raise InputError("is neither a .keras archive nor an HDF5 file nor a .tflite", where=str(path), fix=fix)
    config = _json(found["config"], path)
    if not isinstance(config.get("class_name"), str) or not isinstance(config.get("config"), dict | list):
        raise InputError("its model configuration is not one that Keras writes", where=str(path))
    if not allow_unsafe:
        refuse_unknown(config | training, "keras3" if kind in ("keras3", "h5_keras3") else "keras2", path)
    return keras_facts(path, kind, config, version)


def _is_keras3(version: str, path: Path) -> bool:
    """Whether Keras 3 or a later one wrote the file.

    Raises:
        InputError: It is not a version.
    """
    major = version.split(".")[0]
    if not major.isdecimal():
        raise InputError(f"its Keras version is {version[:40]!r}, not a number", where=str(path))
    return int(major[:9]) >= 3


def _peek_folder(path: Path, allow_unsafe: bool, from_quantized: bool) -> ModelFacts:
    if not (path / GRAPH).exists():
        return peek(model_inside(path), allow_unsafe=allow_unsafe, from_quantized=from_quantized)
    size = sum(require_file(file).stat().st_size for file in (path / GRAPH, path / KERAS_METADATA) if file.exists())
    limits = Limits.for_size(size)
    found = contained(f"{READERS}:read_saved_model", path, where=str(path), limits=limits)
    if found["unsafe"] and not allow_unsafe:
        names = ", ".join(found["unsafe"][:5])
        what = f"runs operations that reach out of the graph (files, Python, other machines): {names}"
        raise InputError(what, where=str(path), fix=f"Export a model without them; {TRUST_FIX}")
    metadata = [(place, _json(text, path / KERAS_METADATA)) for place, text in found["metadata"]]
    root = dict(metadata).get("root", {})
    inner = root.get("config")
    config = (
        {"class_name": root.get("class_name", ""), "config": inner if isinstance(inner, dict) else {}} if root else {}
    )
    untrusted = "" if allow_unsafe else next(_untrusted([node for _, node in metadata]), "")
    return saved_model_facts(path, served(found["signatures"], path)[1], config, untrusted)


def _untrusted(nodes: list[dict[str, Any]]) -> Iterator[str]:
    """What in any node of the Keras metadata is not known, so that Keras must not rebuild it."""
    for node in nodes:
        for finding in findings(node, "keras2"):
            yield finding.what


def _peek_tflite(path: Path, from_quantized: bool) -> ModelFacts:
    found = contained(f"{READERS}:read_tflite", path, from_quantized, where=str(path))
    ends = [TensorInfo.model_validate(info) for info in found["inputs"]]
    inputs = tuple(tuple(None if size < 0 else size for size in info.shape[1:]) for info in ends)
    names = tuple(info.name for info in ends) if len(ends) > 1 and all(info.name for info in ends) else ()
    return ModelFacts(
        path,
        "tflite",
        "",
        inputs,
        (),
        {},
        names,
        tuple(info.dtype for info in ends),
        packed=found["packed"],
        quantized=found["quantized"],
        untrainable=found["untrainable"],
    )


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"its configuration is not JSON ({error})", where=str(path)) from None
    except RecursionError:
        raise InputError("its configuration is nested too deep to be read", where=str(path)) from None
    if not isinstance(found, dict):
        raise InputError("its configuration is not a mapping", where=str(path))
    return found
