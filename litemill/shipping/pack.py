"""The deployment pack of a release: sources that run the file, written from its evidence and never by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import MEASUREMENTS, VARIANT
from litemill.evidence.outcome import Measurement
from litemill.evidence.variant import VariantManifest
from litemill.shipping.facts import Facts, Micro, Port, read_facts
from litemill.shipping.literals import array, c_string, kotlin_string, number
from litemill.shipping.manifest import Release
from litemill.slim.lut_plan import DECODE

if TYPE_CHECKING:
    from jinja2 import Environment

log = logging.getLogger(__name__)

PACK = "deploy"
"""Folder of a release with the sources."""
TEMPLATES = Path(__file__).parent / "templates"
ANDROID = {"android/Model.kt": "Model.kt.j2"}
MICRO = {
    "microcontroller/model_data.h": "model_data.h.j2",
    "microcontroller/model_data.cc": "model_data.cc.j2",
    "microcontroller/ops.h": "ops.h.j2",
    "microcontroller/main.cc": "main.cc.j2",
}
RESOLVED = """
    Abs Add AddN ArgMax ArgMin AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs BroadcastTo
    Cast Ceil Concatenation Conv2D Cos CumSum DepthToSpace DepthwiseConv2D Dequantize Div Elu EmbeddingLookup
    Equal Exp ExpandDims Fill Floor FloorDiv FloorMod FullyConnected Gather GatherNd Greater GreaterEqual HardSwish If
    L2Normalization L2Pool2D LeakyRelu Less LessEqual Log LogicalAnd LogicalNot LogicalOr Logistic LogSoftmax Maximum
    MaxPool2D Mean Minimum MirrorPad Mul Neg NotEqual Pack Pad PadV2 Prelu Quantize ReduceMax ReduceMin
    Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt SelectV2 Shape Sin Slice Softmax
    SpaceToBatchNd SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh
    Transpose TransposeConv UnidirectionalSequenceLSTM Unpack While ZerosLike
"""
"""What `MicroMutableOpResolver` has an `Add…` for, but for the ops of variables: `main.cc` makes no room for them."""
ADDS = {name.lower(): name for name in RESOLVED.split()}
TYPES = frozenset({"int8", "uint8", "int16", "int32", "float32"})
"""Types of inputs and outputs that the sources fill and read; the one in Python takes all."""


def pack(folder: Path, release: Release) -> dict[str, str]:
    """The files of the pack.

    Args:
        folder: The release, with its evidence.
        release: Without the digests of its files.

    Returns:
        Contents by path below the release; none where the interface was not recorded.
    """
    graph = read_manifest(folder / VARIANT, VariantManifest).graph
    measured = [read_manifest(file, Measurement) for file in sorted(folder.glob(MEASUREMENTS))]
    facts = read_facts(folder, release, graph, {one.target: one for one in measured})
    if facts is None:
        return {}
    return {f"{PACK}/{name}": text for name, text in _written(facts).items()}


def _written(facts: Facts) -> dict[str, str]:
    wanted = {"python/predict.py": "predict.py.j2"}
    strange = sorted({port.info.dtype for port in (*facts.inputs, *facts.outputs)} - TYPES)
    context: dict[str, Any] = {"facts": facts, "release": facts.release, "written_by": _written_by(facts.release)}
    if strange:
        log.warning("no source for Android and microcontrollers: inputs or outputs are %s", ", ".join(strange))
    else:
        wanted |= ANDROID
    if facts.micro and (lost := missing(facts.micro)):
        log.warning("no sources for microcontrollers: they have nothing for %s", ", ".join(lost))
    elif facts.micro and not strange:
        wanted |= MICRO
        context |= {"micro": facts.micro, "adds": [_add(op) for op in facts.micro.ops]}
    templates = environment()
    return {name: templates.get_template(template).render(context) for name, template in wanted.items()}


def missing(micro: Micro) -> list[str]:
    """Ops of a file that the sources cannot run."""
    return [op for op in micro.ops if op != DECODE and _key(op) not in ADDS]


def _add(op: str) -> str:
    """The call that adds an op to a resolver."""
    if op == DECODE:
        return f'AddCustom("{DECODE}", tflite::Register_DECODE())'
    return f"Add{ADDS[_key(op)]}()"


def _key(op: str) -> str:
    return op.replace("_", "").lower()


def _written_by(release: Release) -> str:
    return f"Litemill {release.litemill}".strip()


@cache
def environment() -> Environment:
    """The templates, with what they write values by."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701  (sources, not HTML: each value is written by a filter of its language)
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: Mapping[str, Callable[..., str]] = {
        "c": c_string,
        "kotlin": kotlin_string,
        "number": number,
        "array": array,
        "python": repr,
        "shape": lambda port: " x ".join(map(str, port.shape)),
    }
    made.filters.update(filters)
    made.globals["channels"] = _channel_values
    return made


def _channel_values(port: Port, values: list[float], default: float) -> list[float]:
    """One value for each channel of an input."""
    if not values:
        return [default] * port.channels
    return list(values) * port.channels if len(values) == 1 else list(values)
