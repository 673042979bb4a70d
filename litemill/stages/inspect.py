"""Everything that can be read of a `.tflite`, ours or not, and what differs between two."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from pydantic import Field

from litemill.artifacts.files import read_manifest
from litemill.artifacts.foreign import require_file
from litemill.artifacts.layout import VARIANT
from litemill.errors import InputError
from litemill.evidence.base import Evidence
from litemill.evidence.graph import Delegation, GraphReport
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer.graph import read_graph
from litemill.flatbuffer.reader import read_bytes
from litemill.flatbuffer.sizes import FileSizes, measure_sizes
from litemill.process.contained import contained
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
    cannot_run: str = Field("", description="why LiteRT cannot run it on this host; empty where it can")
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
        InputError: The file is missing, is not a `.tflite` or is damaged.

    Example:
        >>> import litemill as lm
        >>> found = lm.inspect("baseline/baseline/model.tflite")
        >>> found.graph.inputs[0].dtype, found.graph.ops["FULLY_CONNECTED"]
        ('float32', 1)
    """
    return inspect_file(Path(file))


def inspect_file(path: Path) -> Inspection:
    """Read a `.tflite`, and ask LiteRT what XNNPACK takes of it on this host.

    A file with ops that LiteRT does not know (a vendor's own, compiled for an NPU) is read all the same.

    Raises:
        InputError: The file is missing, is no `.tflite` or is damaged.
    """
    data = read_bytes(require_file(path))
    facts = contained(f"{__name__}:facts_of", path, where=str(path))
    graph, sizes, refused = GraphReport.model_validate(facts["graph"]), FileSizes(*facts["sizes"]), ""
    try:
        asked = contained("litemill.flatbuffer.delegation:xnnpack_facts", path, where=str(path))
        graph.delegation["xnnpack"] = Delegation.model_validate(asked)
    except InputError as error:
        refused = error.what
    digest = hashlib.sha256(data).hexdigest()
    variant = _manifest_beside(path, digest)
    if variant and variant.graph:
        graph.ops_before, graph.folded = variant.graph.ops_before, variant.graph.folded
    return Inspection(
        file=str(path),
        sha256=digest,
        variant=variant,
        canonical_sha256=facts["canonical_sha256"],
        cannot_run=refused,
        size_bytes=sizes.raw,
        gzip_bytes=sizes.gzip,
        zstd_bytes=sizes.zstd,
        graph=graph,
    )


def facts_of(path: str) -> dict[str, Any]:
    """What stands in a file, as plain data; called where it can do no harm.

    Raises:
        InputError: It is no `.tflite` or is damaged.
    """
    return {
        "graph": read_graph(Path(path)).model_dump(mode="json"),
        "sizes": list(measure_sizes(Path(path))),
        "canonical_sha256": canonical_digest(read_bytes(Path(path))),
    }


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
