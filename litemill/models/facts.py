"""What a model file says about itself, read from the configuration that Keras wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Format = Literal["h5", "keras2", "h5_keras3", "keras3", "saved_model", "tflite"]
Shape = tuple[int | None, ...]

MODELS = ("Functional", "Sequential", "Model")
FLOAT = "float32"
MIXED = ("float16", "bfloat16")
FROM_QUANTIZED = "the run starts from weights that were rounded already, and judges by what these compute in float32"
"""What is told of a quantized file, before the weights that are rounded."""


@dataclass(frozen=True)
class LayerFacts:
    """A layer as the file describes it; layers of nested models come after the model that holds them."""

    name: str
    class_name: str


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says about itself.

    Attributes:
        path: The file.
        format: `h5` and `keras2` (`.keras` zip archives) of Keras 2, `h5_keras3` and `keras3` of Keras 3, `saved_model`
            (a folder), or `tflite`.
        class_name: `Functional`, `Sequential` or the name of a subclass; empty where there is only a graph.
        inputs: Shape of one sample for each input, None where a dimension is free; empty where the file doesn't say.
        layers: All layers, nested ones included.
        config: The whole configuration, as Keras wrote it.
        input_names: Names of the inputs, in the same order; none where the file doesn't say.
        input_dtypes: Their types, as numpy calls them, in the same order.
        batch: Number of samples that each call must have; None where it is free or the file doesn't say.
        stateful: Names of the layers that keep state from one call to the next.
        mixed: Policy of mixed precision that layers compute in, such as `mixed_float16`; empty for none. The variables
            are float32, and so is the model that is loaded.
        untrusted: Why Keras' own description of a SavedModel is not used, but its graph only; empty where it may be.
        keras_version: Version of Keras that wrote the file, where it says so.
        packed: Of a `.tflite` the weights that are not stored as float32, such as `12 float16 weights`; else empty.
        quantized: Whether some of these are rounded to few values.
        untrainable: Why the layers of a `.tflite` cannot be rebuilt, as far as its ops tell; else empty.
    """

    path: Path
    format: Format
    class_name: str
    inputs: tuple[Shape, ...]
    layers: tuple[LayerFacts, ...]
    config: dict[str, Any]
    input_names: tuple[str, ...] = ()
    input_dtypes: tuple[str, ...] = ()
    batch: int | None = None
    stateful: tuple[str, ...] = ()
    mixed: str = ""
    untrusted: str = ""
    keras_version: str = field(default="", compare=False)
    packed: str = ""
    quantized: bool = False
    untrainable: str = ""

    @property
    def input_shape(self) -> Shape | None:
        """Shape of one sample of the only input; None where the file doesn't say, or there are several."""
        return self.inputs[0] if len(self.inputs) == 1 else None

    @property
    def input_dtype(self) -> str:
        """Type of the only input, `float32` where the file doesn't say or there are several."""
        return self.input_dtypes[0] if len(self.input_dtypes) == 1 else FLOAT

    @property
    def is_keras3(self) -> bool:
        """Whether Keras 3 loads it."""
        return self.format in ("keras3", "h5_keras3")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs of a functional model; none where the file doesn't say."""
        inner = self.config.get("config")
        layers = inner.get("output_layers") if isinstance(inner, dict) else None
        if isinstance(layers, dict):
            layers = list(layers.values())
        if isinstance(layers, list) and layers and isinstance(layers[0], str):
            layers = [layers]
        found = layers if isinstance(layers, list) else []
        return tuple(str(layer[0]) for layer in found if isinstance(layer, list) and layer)

    @property
    def only_graph(self) -> str:
        """Why there are no layers that could be rebuilt and trained, as far as the file tells; else empty."""
        if self.format == "tflite":
            return f"its layers cannot be rebuilt: {self.untrainable}" if self.untrainable else ""
        if self.untrusted:
            return f"only the SavedModel's graph is used, without layers that could be trained: {self.untrusted}"
        if self.format == "saved_model" and self.class_name not in ("Functional", "Sequential"):
            what = f"subclass {self.class_name}" if self.class_name else "SavedModel without Keras metadata"
            return f"a {what} has no layers that could be rebuilt"
        return ""


def keras_facts(path: Path, kind: Format, config: dict[str, Any], version: str) -> ModelFacts:
    """What the configuration of a `.keras` or `.h5` file says."""
    ends = _ends(config)
    return ModelFacts(
        path,
        kind,
        str(config["class_name"]),
        inputs=tuple(tuple(shape[1:]) for shape, _ in ends),
        layers=tuple(_layers(config)),
        config=config,
        input_names=_input_names(config),
        input_dtypes=tuple(dtype for _, dtype in ends),
        batch=next((shape[0] for shape, _ in ends if shape[0] is not None), None),
        stateful=stateful_layers(config),
        mixed=mixed_policy(config),
        keras_version=version,
    )


def saved_model_facts(
    path: Path, ends: dict[str, tuple[Sequence[int | None], str]], config: dict[str, Any], untrusted: str
) -> ModelFacts:
    """What the signature and the Keras metadata of a SavedModel say.

    Args:
        path: The folder.
        ends: Shape with batch and type of each input, by name.
        config: Class name and configuration of the Keras model; empty where there is none.
        untrusted: Why the metadata is not used.
    """
    return ModelFacts(
        path,
        "saved_model",
        str(config.get("class_name", "")),
        inputs=tuple(tuple(shape[1:]) for shape, _ in ends.values()),
        layers=() if untrusted else tuple(_layers(config)),
        config={} if untrusted else config,
        input_names=tuple(ends),
        input_dtypes=tuple(dtype for _, dtype in ends.values()),
        batch=next((shape[0] for shape, _ in ends.values() if shape and shape[0] is not None), None),
        stateful=stateful_layers(config),
        mixed="" if untrusted else mixed_policy(config),
        untrusted=untrusted,
    )


def _children(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Configurations of the layers of a model; none for a subclassed model."""
    inner = config.get("config")
    layers = inner.get("layers", []) if isinstance(inner, dict) else inner
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _layers(config: dict[str, Any]) -> Iterator[LayerFacts]:
    for layer in _children(config):
        yield LayerFacts(_name(layer), str(layer.get("class_name", "")))
        yield from _layers(layer)


def _name(layer: dict[str, Any]) -> str:
    inner = layer.get("config")
    return str(layer.get("name") or (inner.get("name", "") if isinstance(inner, dict) else ""))


def _ends(config: dict[str, Any]) -> list[tuple[list[int | None], str]]:
    """Shapes with batch and types of the inputs: of the InputLayers, else of the first layer or of the build."""
    children = _children(config)
    found = [_end(layer) for layer in children if layer.get("class_name") == "InputLayer"]
    if not found and children:
        inner = config["config"]
        built = _shape(inner.get("build_input_shape")) if isinstance(inner, dict) else None
        found = [_end(children[0]) or ((built, FLOAT) if built else None)]
    return [end for end in found if end]


def _end(layer: dict[str, Any]) -> tuple[list[int | None], str] | None:
    inner = layer.get("config")
    if not isinstance(inner, dict):
        return None
    if layer.get("class_name") in MODELS:
        ends = _ends(layer)
        return ends[0] if ends else None
    shape = _shape(inner.get("batch_input_shape")) or _shape(inner.get("batch_shape"))
    dtype = inner.get("dtype")
    plain = isinstance(dtype, str) and dtype not in MIXED and not dtype.startswith("mixed_")
    return (shape, str(dtype) if plain else FLOAT) if shape else None


def _shape(value: Any) -> list[int | None] | None:
    """A shape with batch; None for what is not one."""
    value = value.get("items") if isinstance(value, dict) else value
    sound = isinstance(value, list) and value and all(size is None or _is_size(size) for size in value)
    return list(value) if sound else None


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 0


def _input_names(config: dict[str, Any]) -> tuple[str, ...]:
    """Names of the InputLayers."""
    return tuple(_name(layer) for layer in _children(config) if layer.get("class_name") == "InputLayer" and _end(layer))


def _configs(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and options of all layers, nested and wrapped ones included."""
    for layer in _children(config):
        inner = layer.get("config")
        if not isinstance(inner, dict):
            continue
        yield _name(layer), inner
        for wrapped in (inner.get("layer"), inner.get("backward_layer"), inner.get("cell")):
            if isinstance(wrapped, dict) and isinstance(wrapped.get("config"), dict):
                yield _name(layer), wrapped["config"]
        yield from _configs(layer)


def stateful_layers(config: dict[str, Any]) -> tuple[str, ...]:
    """Names of the layers that keep state from one call to the next."""
    return tuple(dict.fromkeys(name for name, options in _configs(config) if options.get("stateful") is True))


def mixed_policy(config: dict[str, Any]) -> str:
    """The first policy of mixed or half precision among the layers; empty for none."""
    for _, options in _configs(config):
        dtype = options.get("dtype")
        inner = dtype.get("config") if isinstance(dtype, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else dtype
        if isinstance(name, str) and (name.startswith("mixed_") or name in MIXED):
            return name
    return ""
