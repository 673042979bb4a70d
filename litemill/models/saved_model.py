"""Read what a SavedModel folder says about itself, without TensorFlow: its signature and its Keras metadata."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from litemill.errors import InputError
from litemill.protobuf import messages

GRAPH, KERAS_METADATA = "saved_model.pb", "keras_metadata.pb"
DEFAULT, INIT = "serving_default", "__saved_model_init_op"

DTYPES = {
    **{1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64"},
    **{9: "int64", 10: "bool", 14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64"},
}
"""Names of the types in tensorflow/core/framework/types.proto, as numpy has them."""

DEFINITION = {
    "SavedModel": {"meta_graphs": (2, "repeated MetaGraph")},
    "MetaGraph": {
        "graph_def": (2, "Graph"),
        "saver_def": (3, "Saver"),
        "collection_def": (4, "map Collection"),
        "signature_def": (5, "map Signature"),
        "object_graph_def": (7, "Objects"),
    },
    "Graph": {"node": (1, "repeated Operation"), "library": (2, "Library")},
    "Library": {"function": (1, "repeated Function")},
    "Function": {"signature": (1, "Name"), "node_def": (3, "repeated Operation")},
    "Name": {"name": (1, "string")},
    "Operation": {
        "name": (1, "string"),
        "op": (2, "string"),
        "input": (3, "repeated string"),
        "attr": (5, "map Attribute"),
    },
    "Attribute": {"list": (1, "NameList"), "func": (10, "Name")},
    "NameList": {"func": (9, "repeated Name")},
    "Saver": {"restore_op_name": (3, "string")},
    "Collection": {"node_list": (1, "Strings")},
    "Strings": {"value": (1, "repeated string")},
    "Objects": {"concrete_functions": (2, "map Anything")},
    "Anything": {"bound_inputs": (2, "repeated int32")},
    "Signature": {"inputs": (1, "map Tensor"), "outputs": (2, "map Tensor")},
    "Tensor": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "Shape": {"dim": (2, "repeated Dimension"), "unknown_rank": (3, "bool")},
    "Dimension": {"size": (1, "int64")},
    "Metadata": {"nodes": (1, "repeated Node")},
    "Node": {"node_path": (3, "string"), "identifier": (4, "string"), "metadata": (5, "string")},
}
"""What is read of tensorflow/core/{protobuf,framework}, and of Keras' saved_metadata.proto."""


@cache
def _classes() -> dict[str, Any]:
    return messages("litemill_saved_model", DEFINITION)


def signature_of(folder: Path) -> str:
    """Name of the signature to serve: `serving_default`, or the only one there is.

    Raises:
        InputError: Damaged, or no such signature.
    """
    return served(signatures(parse(folder / GRAPH, "SavedModel")), folder)[0]


def served(found: dict[str, dict[str, Any]], folder: Path) -> tuple[str, dict[str, Any]]:
    """Name of the signature to serve, and shape with batch and type of each of its inputs by name.

    Args:
        found: What `signatures` found.
        folder: Names the model in errors.

    Raises:
        InputError: There is no such signature.
    """
    if DEFAULT in found:
        return DEFAULT, found[DEFAULT]
    if len(found) == 1:
        return next(iter(found.items()))
    what = f"has no signature {DEFAULT!r}; it has {', '.join(sorted(found)) or 'none'}"
    raise InputError(what, where=str(folder), fix="Save it with a serving signature, e.g. by model.export(folder)")


def signatures(saved: Any) -> dict[str, dict[str, Any]]:
    """Inputs of every signature by name: shape with batch (None: free) and type; those of unknown rank are left out."""
    return {
        name: {key: _end(tensor) for key, tensor in sorted(signature.inputs.items()) if _end(tensor)}
        for graph in saved.meta_graphs
        for name, signature in graph.signature_def.items()
        if name != INIT
    }


def _end(tensor: Any) -> list[Any] | None:
    """Shape and type of a tensor of a signature."""
    if tensor.tensor_shape.unknown_rank or not tensor.tensor_shape.dim:
        return None
    shape = [None if dim.size < 0 else int(dim.size) for dim in tensor.tensor_shape.dim]
    return [shape, DTYPES.get(tensor.dtype, f"type {tensor.dtype}")]


def parse(path: Path, kind: str) -> Any:
    """A message of `DEFINITION` from a file.

    Raises:
        InputError: It is damaged.
    """
    from google.protobuf.message import DecodeError

    try:
        return _classes()[kind].FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None
