"""Read what a SavedModel folder says about itself, without TensorFlow: its signature and its Keras metadata."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from litemill.errors import InputError
from litemill.protobuf import messages

GRAPH, KERAS_METADATA = "saved_model.pb", "keras_metadata.pb"
DEFAULT, INIT = "serving_default", "__saved_model_init_op"

DEFINITION = {
    "SavedModel": {"meta_graphs": (2, "repeated MetaGraph")},
    "MetaGraph": {"signature_def": (5, "map Signature")},
    "Signature": {"inputs": (1, "map Tensor"), "outputs": (2, "map Tensor")},
    "Tensor": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "Shape": {"dim": (2, "repeated Dimension"), "unknown_rank": (3, "bool")},
    "Dimension": {"size": (1, "int64")},
    "Metadata": {"nodes": (1, "repeated Node")},
    "Node": {"node_path": (3, "string"), "identifier": (4, "string"), "metadata": (5, "string")},
}
"""What is read of tensorflow/core/protobuf/{saved_model,meta_graph}.proto and of Keras' saved_metadata.proto."""


@cache
def _classes() -> dict[str, Any]:
    return messages("litemill_saved_model", DEFINITION)


def signature_of(folder: Path) -> tuple[str, Any]:
    """Name and message of the signature to serve: `serving_default`, or the only one there is.

    Raises:
        InputError: Damaged, or no such signature.
    """
    graphs = _parse(folder / GRAPH, "SavedModel").meta_graphs
    found = {name: signature for graph in graphs for name, signature in graph.signature_def.items() if name != INIT}
    if DEFAULT in found:
        return DEFAULT, found[DEFAULT]
    if len(found) == 1:
        return next(iter(found.items()))
    what = f"has no signature {DEFAULT!r}; it has {', '.join(sorted(found)) or 'none'}"
    raise InputError(what, where=str(folder), fix="Save it with a serving signature, e.g. by model.export(folder)")


def input_shapes(folder: Path) -> dict[str, list[int | None]]:
    """Shapes of the signature's inputs with their batch, by name; None for a free size; of unknown rank: left out."""
    shapes: dict[str, list[int | None]] = {}
    for name, tensor in sorted(signature_of(folder)[1].inputs.items()):
        if not tensor.tensor_shape.unknown_rank and tensor.tensor_shape.dim:
            shapes[name] = [None if dim.size < 0 else int(dim.size) for dim in tensor.tensor_shape.dim]
    return shapes


def keras_config(folder: Path) -> dict[str, Any]:
    """Class name and configuration of the Keras model that was saved; empty where there is none to rebuild."""
    if not (folder / KERAS_METADATA).is_file():
        return {}
    for node in _parse(folder / KERAS_METADATA, "Metadata").nodes:
        if node.node_path == "root":
            try:
                root = json.loads(node.metadata)
            except ValueError as error:
                raise InputError(f"its Keras metadata is no JSON ({error})", where=str(folder)) from None
            return {"class_name": root.get("class_name", ""), "config": root.get("config") or {}}
    return {}


def _parse(path: Path, kind: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return _classes()[kind].FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None
