"""Everything that can be told of a `.tflite`, ours or not, and what differs between two."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from pydantic import Field

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import VARIANT
from litemill.errors import InputError, first_line
from litemill.evidence import Evidence, GraphReport, VariantManifest
from litemill.flatbuffer.delegation import ask_xnnpack
from litemill.flatbuffer.graph import read_graph
from litemill.flatbuffer.reader import read_bytes
from litemill.flatbuffer.sizes import measure_sizes
from litemill.slim.rewrite import canonical_digest

log = logging.getLogger(__name__)


class Inspection(Evidence):
    """What `litemill inspect` tells of a file."""

    file: str
    sha256: str
    canonical_sha256: str
    size_bytes: int
    gzip_bytes: int
    zstd_bytes: int
    graph: GraphReport
    variant: VariantManifest | None = Field(
        None, description="its variant.json where that is beside it: what cannot be read from the file"
    )


def inspect(file: str | Path) -> Inspection:
    """Everything that a `.tflite` shows of itself, Litemill's or not, and what XNNPACK takes of it on this host.

    Args:
        file: The file. What cannot be read from it is taken from its `variant.json` where that is beside it.

    Returns:
        Sizes, digests, ops, weights, what was fused, and what accelerators would take.

    Raises:
        InputError: The file is missing, is not a `.tflite`, is damaged, or LiteRT cannot open it.

    Example:
        >>> import litemill as lm
        >>> found = lm.inspect("baseline/baseline/model.tflite")
        >>> found.graph.inputs[0].dtype, found.graph.ops["FULLY_CONNECTED"]
        ('float32', 1)
    """
    return inspect_file(Path(file))


def inspect_file(path: Path) -> Inspection:
    """Read a `.tflite`, and ask LiteRT what XNNPACK takes of it on this host.

    Raises:
        InputError: The file is missing, is no `.tflite`, is damaged, or LiteRT cannot open it.
    """
    data, graph, sizes = read_bytes(path), read_graph(path), measure_sizes(path)
    try:
        graph.delegation["xnnpack"] = ask_xnnpack(path)
    except (RuntimeError, ValueError) as error:
        first = first_line(error)
        raise InputError(f"LiteRT cannot open it: {first}", where=str(path)) from None
    digest = hashlib.sha256(data).hexdigest()
    variant = _manifest_beside(path, digest)
    if variant and variant.graph:
        graph.ops_before, graph.folded = variant.graph.ops_before, variant.graph.folded
    return Inspection(
        file=str(path),
        sha256=digest,
        variant=variant,
        canonical_sha256=canonical_digest(data),
        size_bytes=sizes.raw,
        gzip_bytes=sizes.gzip,
        zstd_bytes=sizes.zstd,
        graph=graph,
    )


def _manifest_beside(path: Path, digest: str) -> VariantManifest | None:
    """The variant.json in the same folder, if there is one and it speaks of this very file."""
    manifest = path.with_name(VARIANT)
    if not manifest.is_file():
        return None
    try:
        found = read_manifest(manifest, VariantManifest)
    except InputError as error:
        log.warning("%s; inspected without it", error)
        return None
    return found if found.sha256 == digest else None


def differences(first: Inspection, second: Inspection) -> dict[str, tuple[Any, Any]]:
    """What differs between two files, by name; empty where they compute and hold the same.

    Returns:
        A pair of values for each size, count of ops, input, output, section and weight (by its place in the file)
        that is not equal.
    """
    left, right = _facts(first), _facts(second)
    return {
        name: (left.get(name, "-"), right.get(name, "-"))
        for name in [*left, *(name for name in right if name not in left)]
        if left.get(name) != right.get(name)
    }


def _facts(found: Inspection) -> dict[str, Any]:
    graph = found.graph
    facts: dict[str, Any] = {"computes (canonical sha256)": found.canonical_sha256[:16]}
    facts |= {"bytes": found.size_bytes, "gzip": found.gzip_bytes, "zstd": found.zstd_bytes, "macs": graph.macs}
    facts |= {f"op {name}": count for name, count in graph.ops.items()}
    facts |= {f"fused {name}": count for name, count in graph.fused_activations.items()}
    facts |= {f"bytes of {name}": size for name, size in graph.sections.items()}
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        facts |= {f"{kind} {at}": f"{tensor.dtype}{tensor.shape}" for at, tensor in enumerate(tensors)}
    for at, weight in enumerate(graph.weights):
        shown = f"{weight.dtype}{weight.shape} {weight.sparsity:.1%} zeros, {weight.distinct} distinct"
        facts[f"weight {at} ({weight.op})"] = shown
    return facts
