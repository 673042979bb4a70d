"""The shape of a model's outputs, worked out from its file without TensorFlow; None where that cannot be known.

Layers follow one another in a Keras configuration, and what each of the usual ones does to a shape is simple. A layer
that is not known here makes all that follows it unknown: then only loading the model tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from litemill.models.facts import ModelFacts, Shape
from litemill.models.saved_model import GRAPH, parse, served, signatures
from litemill.process.contained import contained

Config = Mapping[str, Any]
Inputs = list[Shape]

SAME = frozenset(
    {
        *("InputLayer", "BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization"),
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU", "Softmax", "ActivityRegularization"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
        *("Rescaling", "Normalization", "Masking", "Identity", "RandomFlip", "RandomRotation", "RandomZoom"),
        *("RandomTranslation", "RandomContrast", "RandomBrightness"),
    }
)
JOINED = frozenset(["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
MODELS = frozenset(["Functional", "Sequential", "Model"])


def output_shapes(facts: ModelFacts) -> dict[str, Shape | None]:
    """Shape of one sample of each output by name (the empty one where the file has none), as far as it is known."""
    if facts.format == "tflite" or (facts.format == "saved_model" and facts.only_graph):
        reader = "read_tflite" if facts.format == "tflite" else "read_signature"
        found = contained(f"{__name__}:{reader}", facts.path, where=str(facts.path))
        return {name: None if shape is None else tuple(shape) for name, shape in found}
    if facts.class_name not in MODELS:
        return {}
    try:
        shapes = _model({"class_name": facts.class_name, "config": facts.config["config"]}, list(facts.inputs))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        return {}  # not as Keras writes it: loading it will tell
    names = facts.output_names if len(shapes) == len(facts.output_names) else [""] * min(len(shapes), 1)
    return dict(zip(names, shapes, strict=False))


def read_tflite(file: str) -> list[list[Any]]:
    """Name and shape of each output of a `.tflite`. Called in a child process."""
    from litemill.models.tflite import ends_of, read_float

    found, names = read_float(Path(file), from_quantized=True).outputs, ends_of(Path(file))[1]
    shapes = [[None if size < 0 else size for size in info.shape[1:]] for info in found]
    return [[name, shape] for name, shape in zip(names, shapes, strict=True)]


def read_signature(folder: str) -> list[list[Any]]:
    """Name and shape of each output of a SavedModel's signature. Called in a child process."""
    saved = parse(Path(folder) / GRAPH, "SavedModel")
    name, _ = served(signatures(saved), Path(folder))
    outputs = next(graph.signature_def[name].outputs for graph in saved.meta_graphs if name in graph.signature_def)
    found: list[list[Any]] = []
    for key, tensor in sorted(outputs.items()):
        shape = [None if dim.size < 0 else int(dim.size) for dim in tensor.tensor_shape.dim]
        found.append([key, None if tensor.tensor_shape.unknown_rank else shape[1:]])
    return found


def _model(model: Config, inputs: Inputs) -> list[Shape | None]:
    """Shapes of the outputs of a functional or sequential model."""
    config = model["config"]
    if model["class_name"] == "Sequential":
        shape: Shape | None = inputs[0]
        for layer in config["layers"] if isinstance(config, dict) else config:
            shape = None if shape is None else _layer(layer, [shape])
        return [shape]
    known: dict[str, list[Shape | None]] = {}
    given = iter(inputs)
    for layer in config["layers"]:
        name = str(layer.get("name") or layer["config"]["name"])
        if layer["class_name"] == "InputLayer":
            known[name] = [next(given)]
            continue
        sources = [known.get(one, [None])[place : place + 1] or [None] for one, place in _sources(layer)]
        shapes = [source[0] for source in sources]
        if not shapes or None in shapes:
            known[name] = [None]
        elif layer["class_name"] in MODELS:
            known[name] = _model(layer, [shape for shape in shapes if shape is not None])
        else:
            known[name] = [_layer(layer, [shape for shape in shapes if shape is not None])]
    ends = config["output_layers"]
    ends = list(ends.values()) if isinstance(ends, dict) else [ends] if isinstance(ends[0], str) else ends
    return [known.get(str(end[0]), [None])[int(end[2])] for end in ends]


def _sources(layer: Config) -> Iterator[tuple[str, int]]:
    """Names of the layers that feed the first call of a layer, and which of their outputs."""
    nodes = layer.get("inbound_nodes") or []
    first = nodes[0] if nodes else []
    yield from _tensors(first)


def _tensors(node: Any) -> Iterator[tuple[str, int]]:
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":  # Keras 3
        name, _, place = node["config"]["keras_history"]
        yield str(name), int(place)
    elif isinstance(node, dict):
        for value in (node.get("args"), node.get("kwargs")) if "args" in node else node.values():
            yield from _tensors(value)
    elif isinstance(node, list) and len(node) >= 3 and isinstance(node[0], str) and isinstance(node[2], int):  # Keras 2
        yield node[0], node[2]
        yield from _tensors(node[3] if len(node) > 3 else [])
    elif isinstance(node, list):
        for value in node:
            yield from _tensors(value)


def _layer(layer: Config, inputs: Inputs) -> Shape | None:
    """Shape of the output of a layer; None of one that is not known."""
    name, config = str(layer["class_name"]), layer["config"]
    if name in SAME:
        return inputs[0]
    if name in MODELS:
        return _model(layer, inputs)[0]
    if name in JOINED:
        return inputs[0] if all(shape == inputs[0] for shape in inputs) else None
    if config.get("data_format", "channels_last") not in (None, "channels_last"):
        return None
    rule = RULES.get(name)
    return rule(config, inputs) if rule else None


def _concatenated(config: Config, inputs: Inputs) -> Shape | None:
    axis = int(config.get("axis", -1))
    axis = axis - 1 if axis > 0 else axis + len(inputs[0])
    sizes = [shape[axis] for shape in inputs]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    return (*inputs[0][:axis], total, *inputs[0][axis + 1 :])


def _each(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(one) for one in value]


def _sliding(config: Config, shape: Shape, window: Any) -> Shape:
    """Sizes behind a window that slides with strides, without the channels."""
    axes = len(shape) - 1
    windows, strides = _each(window, axes), _each(config.get("strides") or window, axes)
    spread = _each(config.get("dilation_rate", 1), axes)
    found: list[int | None] = []
    for size, width, stride, gap in zip(shape[:-1], windows, strides, spread, strict=True):
        lost = (width - 1) * gap if config.get("padding", "valid") == "valid" else 0
        found.append(None if size is None else math.ceil((size - lost) / stride))
    return tuple(found)


def _convolved(config: Config, inputs: Inputs) -> Shape | None:
    return (*_sliding(config, inputs[0], config["kernel_size"]), int(config["filters"]))


def _depthwise(config: Config, inputs: Inputs) -> Shape | None:
    channels = inputs[0][-1]
    found = None if channels is None else channels * int(config.get("depth_multiplier", 1))
    return (*_sliding(config, inputs[0], config["kernel_size"]), found)


def _pooled(config: Config, inputs: Inputs) -> Shape | None:
    return (*_sliding(config, inputs[0], config["pool_size"]), inputs[0][-1])


def _transposed(config: Config, inputs: Inputs) -> Shape | None:
    axes = len(inputs[0]) - 1
    strides, windows = _each(config["strides"], axes), _each(config["kernel_size"], axes)
    if config.get("output_padding") is not None or set(_each(config.get("dilation_rate", 1), axes)) != {1}:
        return None
    kept = config.get("padding") == "valid"
    grown = [max(width - stride, 0) * kept for width, stride in zip(windows, strides, strict=True)]
    sizes = [
        None if size is None else size * stride + more
        for size, stride, more in zip(inputs[0][:-1], strides, grown, strict=True)
    ]
    return (*sizes, int(config["filters"]))


def _reshaped(config: Config, inputs: Inputs) -> Shape | None:
    target = [int(size) for size in config["target_shape"]]
    if -1 not in target:
        return tuple(target)
    if None in inputs[0]:
        return tuple(None if size < 0 else size for size in target)
    whole = math.prod(size for size in inputs[0] if size is not None)
    return tuple(whole // -math.prod(target) if size < 0 else size for size in target)


def _flat(config: Config, inputs: Inputs) -> Shape | None:
    return (None if None in inputs[0] else math.prod(size for size in inputs[0] if size is not None),)


def _recurrent(config: Config, inputs: Inputs) -> Shape | None:
    steps = inputs[0][:-1] if config.get("return_sequences") else ()
    return None if config.get("return_state") else (*steps, int(config["units"]))


def _both_ways(config: Config, inputs: Inputs) -> Shape | None:
    found = _layer(config["layer"], inputs)
    if found is None or config.get("merge_mode") != "concat" or found[-1] is None:
        return found if config.get("merge_mode") is not None else None
    return (*found[:-1], 2 * found[-1])


def _at_each_step(config: Config, inputs: Inputs) -> Shape | None:
    found = _layer(config["layer"], [inputs[0][1:]])
    return None if found is None else (inputs[0][0], *found)


def _global(config: Config, inputs: Inputs) -> Shape | None:
    kept = (1,) * (len(inputs[0]) - 1) if config.get("keepdims") else ()
    return (*kept, inputs[0][-1])


def _larger(config: Config, inputs: Inputs) -> Shape | None:
    factors = _each(config["size"], len(inputs[0]) - 1)
    sizes = [None if size is None else size * by for size, by in zip(inputs[0][:-1], factors, strict=True)]
    return (*sizes, inputs[0][-1])


def _edges(sign: int, key: str) -> Callable[[Config, Inputs], Shape | None]:
    def rule(config: Config, inputs: Inputs) -> Shape | None:
        axes = len(inputs[0]) - 1
        written = config[key]
        if isinstance(written, int):
            sums = [2 * written] * axes
        else:
            pairs = [written] if axes == 1 else written
            sums = [2 * one if isinstance(one, int) else sum(one) for one in pairs]
        sizes = [None if size is None else size + sign * more for size, more in zip(inputs[0][:-1], sums, strict=True)]
        return (*sizes, inputs[0][-1])

    return rule


RULES: dict[str, Callable[[Config, Inputs], Shape | None]] = {
    "Concatenate": _concatenated,
    "Dense": lambda config, inputs: (*inputs[0][:-1], int(config["units"])),
    "Embedding": lambda config, inputs: (*inputs[0], int(config["output_dim"])),
    "Flatten": _flat,
    "Reshape": _reshaped,
    "Permute": lambda config, inputs: tuple(inputs[0][axis - 1] for axis in config["dims"]),
    "RepeatVector": lambda config, inputs: (int(config["n"]), *inputs[0]),
    "Bidirectional": _both_ways,
    "TimeDistributed": _at_each_step,
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D"), _convolved),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose"), _transposed),
    **dict.fromkeys(("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"), _pooled),
    **dict.fromkeys((f"Global{kind}Pooling{axes}D" for kind in ("Max", "Average") for axes in (1, 2, 3)), _global),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    **dict.fromkeys(("UpSampling1D", "UpSampling2D"), _larger),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), _edges(1, "padding")),
    **dict.fromkeys(("Cropping1D", "Cropping2D"), _edges(-1, "cropping")),
}
"""What each layer does to the shape of a sample."""
