"""What is known of each op of a variant, as node data of Google's Model Explorer: colours and figures on its graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, RootModel

from litemill.artifacts.files import read_manifest, sha256_of, write_text
from litemill.artifacts.foreign import require_file
from litemill.artifacts.layout import TFLITE, VARIANT
from litemill.benchmark.bundle import check_target
from litemill.benchmark.registry import open_target
from litemill.config.base import nearest
from litemill.errors import ConfigError, InputError
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer.graph import op_positions
from litemill.flatbuffer.macs import op_macs
from litemill.flatbuffer.reader import ints, parse_model, read_bytes, text

MORE = ("#ffffff", "#f4a261", "#c1121f")
"""Colours from the least to the most, where much is what to look at."""
Results = dict[str, dict[str, int | float]]
"""A figure by graph and node. Model Explorer numbers the nodes of a `.tflite` by the position of their op."""


class GradientItem(BaseModel):
    """A colour of a gradient, which runs from the least figure (0) to the largest (1)."""

    stop: float
    bgColor: str  # noqa: N815  (the format's own name)


class NodeResult(BaseModel):
    """The figure of one node."""

    value: int | float


class GraphData(BaseModel):
    """The node data of one graph, as Model Explorer's `NodeDataProviderGraphData` has it."""

    name: str = Field(description="what Model Explorer calls it")
    results: dict[str, NodeResult] = Field(description="by node")
    gradient: list[GradientItem]
    hideAggregatedStats: list[str] = Field(  # noqa: N815
        default_factory=list, description="of min, max, sum and avg: those that mean nothing"
    )


class NodeData(RootModel[dict[str, GraphData]]):
    """The node data of a model, by graph."""


@dataclass(frozen=True)
class Source:
    """A file and what was found about it."""

    file: Path
    model: Any
    manifest: VariantManifest | None
    target: str | Mapping[str, Any] | None


@dataclass(frozen=True)
class Figure:
    """Something that is known of each op.

    Attributes:
        title: What Model Explorer calls it; `{}` is the target.
        of: Finds it; nothing where it is not known.
        colours: From the least to the largest.
        hidden: Statistics over several ops that mean nothing.
        lack: Why it may not be known.
    """

    title: str
    of: Callable[[Source], Results]
    colours: tuple[str, ...] = MORE
    hidden: list[str] = field(default_factory=list)
    lack: str = ""


def explorer(
    variant: str | Path, *, out: str | Path, figure: str = "", target: str | Mapping[str, Any] | None = None
) -> dict[str, Path]:
    """Write what is known of each op of a variant for Model Explorer, which shows it on the model's graph.

    Open `model.tflite` in Model Explorer and add the files as node data.

    Args:
        variant: Folder of a variant, or any `.tflite`; its `variant.json` is read where that is beside it.
        out: The `.json` file to write. Node data holds one figure for each op: where several are known and none is
            asked for, each has a file of its own, `nodes.bytes.json` for `nodes.json`.
        figure: `sensitivity` (dB; low is sensitive), `bytes` (of its weights), `macs` or `latency`; all that are known
            without it.
        target: For the latency: an Ethos-U, such as `"ethos-u55-128"`, whose compiler estimates it op by op.

    Returns:
        The files by figure.

    Raises:
        InputError: There is no such file, it is damaged, or nothing is known of the figure.
        ConfigError: There is no such figure, the target estimates no ops, or a file exists already.
        DeviceError: The target cannot be asked.

    Example:
        >>> import litemill as lm
        >>> files = lm.explorer("variants/small", out="nodes.json", figure="bytes")
        >>> sorted(files)
        ['bytes']
    """
    if figure and figure not in FIGURES:
        raise ConfigError(f"unknown figure {figure!r}; {nearest(figure, list(FIGURES))}")
    if figure == "latency" and target is None:
        raise ConfigError("the latency of each op needs a target", fix="Give one of Arm's, such as ethos-u55-128")
    source = _opened(Path(variant), target)
    found = {name: kind.of(source) for name, kind in FIGURES.items() if figure in ("", name)}
    known = {name: results for name, results in found.items() if any(results.values())}
    if not known:
        lack = f"nothing is known of {figure}: {FIGURES[figure].lack}" if figure else "nothing is known of its ops"
        raise InputError(lack, where=str(source.file))
    base = Path(out)
    places = {name: base if figure else base.with_name(f"{base.stem}.{name}{base.suffix}") for name in known}
    for place in places.values():
        if place.exists():
            raise ConfigError("exists already", where=str(place), fix="Remove it or name another file")
    for name, results in known.items():
        write_text(places[name], node_data(FIGURES[name], results, target))
    return places


def node_data(figure: Figure, results: Results, target: object = "") -> str:
    """Node data of a model as JSON: by graph, each node with its figure."""
    last = len(figure.colours) - 1
    gradient = [GradientItem(stop=at / last, bgColor=colour) for at, colour in enumerate(figure.colours)]
    name = target["device"] if isinstance(target, Mapping) and "device" in target else target
    graphs = {
        graph: GraphData(
            name=figure.title.format(name),
            results={node: NodeResult(value=value) for node, value in nodes.items()},
            gradient=gradient,
            hideAggregatedStats=figure.hidden,
        )
        for graph, nodes in results.items()
        if nodes
    }
    return NodeData(graphs).model_dump_json(indent=2, exclude_defaults=True) + "\n"


def _opened(variant: Path, target: str | Mapping[str, Any] | None) -> Source:
    file = require_file(variant / TFLITE if variant.is_dir() else variant)
    model = parse_model(read_bytes(file), where=str(file))
    beside = file.with_name(VARIANT)
    manifest = read_manifest(beside, VariantManifest) if beside.is_file() else None
    if manifest and manifest.sha256 != sha256_of(file):
        manifest = None  # it speaks of another file
    return Source(file, model, manifest, target)


def _graphs(model: Any) -> list[tuple[str, Any]]:
    """Graphs under the names that Model Explorer gives them."""
    return [
        (text(graph.name) or ("main" if at == 0 else f"subgraph_{at}"), graph)
        for at, graph in enumerate(model.subgraphs)
    ]


def _main(source: Source, nodes: Mapping[int, float]) -> Results:
    """Figures of the main graph."""
    return {_graphs(source.model)[0][0]: {str(at): value for at, value in sorted(nodes.items())}}


def _sensitivity(source: Source) -> Results:
    names = op_positions(source.model)
    layers = source.manifest.sensitivity if source.manifest else []
    places = [(names.get(one.name) if one.position is None else one.position, one.sqnr_db) for one in layers]
    return _main(source, {at: noise for at, noise in places if at is not None})


def _bytes(source: Source) -> Results:
    """Of what each op is the first to read: equal weights are stored once."""
    seen, found = {0}, {}
    for name, graph in _graphs(source.model):
        nodes: dict[str, int | float] = {}
        for at, op in enumerate(graph.operators or []):
            numbers = {graph.tensors[index].buffer for index in ints(op.inputs) if index >= 0} - seen
            data = [source.model.buffers[number].data for number in numbers]
            seen |= numbers
            if count := sum(len(one) for one in data if one is not None):
                nodes[str(at)] = count
        found[name] = nodes
    return found


def _macs(source: Source) -> Results:
    return {
        name: {
            str(at): count for at, op in enumerate(graph.operators or []) if (count := op_macs(source.model, graph, op))
        }
        for name, graph in _graphs(source.model)
    }


def _latency(source: Source) -> Results:
    if source.target is None:
        return {}
    written = source.target if isinstance(source.target, str) else dict(source.target)
    opened = open_target(spec := check_target(written))
    estimate = getattr(opened, "op_milliseconds", None)
    if estimate is None:
        fix = "Give one whose compiler estimates ops, such as ethos-u55-128"
        raise ConfigError(f"{spec.name} tells no latency of single ops", where="target", fix=fix)
    return _main(source, estimate(source.file))


FIGURES = {
    "sensitivity": Figure(
        "sensitivity: signal to noise where this op alone is quantized, dB",
        _sensitivity,
        MORE[::-1],
        ["sum", "avg"],
        "no variant.json beside it holds it; those of calibrated schemes do",
    ),
    "bytes": Figure("bytes of weights", _bytes, lack="it has no weights"),
    "macs": Figure("multiply-accumulates", _macs, lack="no op has any"),
    "latency": Figure("ms on {}, estimated", _latency, lack="the target takes none of its ops"),
}
"""What may be shown, by name."""
