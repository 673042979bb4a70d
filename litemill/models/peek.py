"""Look into a model without TensorFlow: its kind, its layers, its input shape, and whether it is safe to load."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from litemill.config.base import nearest
from litemill.errors import InputError
from litemill.models.locate import model_inside
from litemill.models.saved_model import GRAPH, input_shapes, keras_config

Format = Literal["h5", "keras2", "keras3", "saved_model", "tflite"]
Shape = tuple[int | None, ...]

CONFIG, METADATA = "config.json", "metadata.json"
NO_INPUTS: Mapping[str, Any] = {}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TFLITE_MAGIC = b"TFL3"  # behind the first four bytes


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
        format: `h5` (Keras 2), `keras2` or `keras3` (`.keras` zip archives), `saved_model` (a folder), or `tflite`.
        class_name: `Functional`, `Sequential` or the name of a subclass; empty where there is only a graph.
        inputs: Shape of one sample for each input, None where a dimension is free; empty where the file doesn't say.
        input_names: Their names, in the same order; none where the file doesn't say.
        layers: All layers, nested ones included.
        config: The whole configuration, as Keras wrote it.
    """

    path: Path
    format: Format
    class_name: str
    inputs: tuple[Shape, ...]
    layers: tuple[LayerFacts, ...]
    config: dict[str, Any]
    input_names: tuple[str, ...] = ()

    @property
    def input_shape(self) -> Shape | None:
        """Shape of one sample of the only input; None where the file doesn't say, or there are several."""
        return self.inputs[0] if len(self.inputs) == 1 else None

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs of a functional model; none where the file doesn't say."""
        inner = self.config.get("config")
        layers = inner.get("output_layers") if isinstance(inner, dict) else None
        if isinstance(layers, dict):
            layers = list(layers.values())
        if layers and isinstance(layers[0], str):
            layers = [layers]
        return tuple(str(layer[0]) for layer in layers or ())

    @property
    def only_graph(self) -> str:
        """Why there are no layers that could be rebuilt and trained, as far as the file tells; else empty."""
        if self.format == "tflite":
            return "a .tflite has no layers that could be trained"
        if self.format == "saved_model" and self.class_name not in ("Functional", "Sequential"):
            what = f"subclass {self.class_name}" if self.class_name else "SavedModel without Keras metadata"
            return f"a {what} has no layers that could be rebuilt"
        return ""


def peek(path: Path, *, allow_unsafe: bool = False) -> ModelFacts:
    """Read what a model says about itself.

    Args:
        path: A `.keras`, `.h5` or float `.tflite` file, a SavedModel folder, or a folder that holds one of these.
        allow_unsafe: Accept layers that hold Python code.

    Raises:
        InputError: No such file, not a model, truncated, quantized already, or unsafe (a Lambda layer, a path that
            leads outside).
    """
    path = Path(path)
    if path.is_dir():
        return _peek_folder(path, allow_unsafe)
    if not path.is_file():
        raise InputError("no such file or folder", where=str(path))
    with path.open("rb") as stream:
        magic = stream.read(8)
    if magic[4:] == TFLITE_MAGIC:
        return _peek_tflite(path)
    if magic == HDF5_MAGIC:
        found: tuple[Format, dict[str, Any]] = ("h5", _h5_config(path))
    elif magic[:2] == b"PK":
        found = _zip_config(path)
    else:
        fix = "Give a .keras or .h5 file that Keras saved, or a .tflite"
        raise InputError("is neither a .keras archive nor an HDF5 file nor a .tflite", where=str(path), fix=fix)
    kind, config = found
    if "class_name" not in config or not isinstance(config.get("config"), dict | list):
        raise InputError("its model configuration is not one that Keras writes", where=str(path))
    if not allow_unsafe:
        _refuse_unsafe(config, path)
    found_inputs = _inputs(config), tuple(_layers(config))
    return ModelFacts(path, kind, str(config["class_name"]), *found_inputs, config, _input_names(config))


def check_fit(
    facts: ModelFacts, sample_shape: tuple[int, ...], data: str, inputs: Mapping[str, Any] = NO_INPUTS
) -> None:
    """Refuse a data set whose samples the model cannot take.

    Args:
        facts: Of the model.
        sample_shape: Of one sample of the data.
        data: How to name the data set.
        inputs: Shape of a sample by input, of data with several.

    Raises:
        InputError: Another rank or size, or other inputs.
    """
    if inputs or len(facts.inputs) > 1:
        _check_inputs(facts, inputs, data)
        return
    shape = facts.input_shape
    if shape is None or _takes(shape, sample_shape):
        return
    wanted = [size if size is not None else "any" for size in shape]
    fix = "Add the channel axis to the data: x[..., None]" if shape == (*sample_shape, 1) else ""
    what = f"takes samples of shape {wanted}, but those of {data} are {list(sample_shape)}".replace("'", "")
    raise InputError(what, where=str(facts.path), fix=fix)


def _takes(shape: Shape, sample_shape: Sequence[int]) -> bool:
    fits = (size in (None, given) for size, given in zip(shape, sample_shape, strict=False))
    return len(shape) == len(sample_shape) and all(fits)


def _check_inputs(facts: ModelFacts, inputs: Mapping[str, Any], data: str) -> None:
    """Refuse data that has other inputs than the model, or of other shapes."""
    if not facts.inputs:
        return
    names = ", ".join(sorted(facts.input_names)) or "names the file does not say"
    if set(inputs) != set(facts.input_names) and not (inputs and not facts.input_names):
        message = f"{len(inputs)}: {', '.join(sorted(inputs))}" if inputs else "one"
        what = f"has {len(facts.inputs)} input{'s' * (len(facts.inputs) > 1)} ({names}), {data} {message}"
        raise InputError(what, where=str(facts.path), fix="Name each input of the model in data.inputs")
    for name, shape in zip(facts.input_names, facts.inputs, strict=False):
        if not _takes(shape, inputs[name]):
            wanted = [size if size is not None else "any" for size in shape]
            what = f"input {name!r} takes samples of shape {wanted}, but those of {data} are {list(inputs[name])}"
            raise InputError(what.replace("'any'", "any"), where=str(facts.path))


def judged_position(names: Sequence[str], output: str, path: Path) -> int:
    """Position of the judged output.

    Raises:
        InputError: No such output, or there are several and none is named.
    """
    if output in names:
        return list(names).index(output)
    if output:
        what = f"has no output {output!r}; {nearest(output, list(names))}"
        raise InputError(what, where=str(path), fix="data.output names it")
    if len(names) > 1:
        fix = f"Say which is judged, e.g. data.output: {names[0]}"
        raise InputError(f"has {len(names)} outputs: {', '.join(names)}", where=str(path), fix=fix)
    return 0


def _peek_folder(path: Path, allow_unsafe: bool) -> ModelFacts:
    if not (path / GRAPH).is_file():
        return peek(model_inside(path), allow_unsafe=allow_unsafe)
    config = keras_config(path)
    if not allow_unsafe:
        _refuse_unsafe(config, path)
    found = input_shapes(path)
    inputs = tuple(tuple(shape[1:]) for shape in found.values())
    layers = tuple(_layers(config))
    return ModelFacts(path, "saved_model", str(config.get("class_name", "")), inputs, layers, config, tuple(found))


def _peek_tflite(path: Path) -> ModelFacts:
    from litemill.models.tflite import read_float

    inputs = tuple(tuple(None if size < 0 else size for size in info.shape[1:]) for info in read_float(path).inputs)
    return ModelFacts(path, "tflite", "", inputs, (), {})


def _h5_config(path: Path) -> dict[str, Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None
    if text is None:
        fix = "Save the whole model with model.save(path)"
        raise InputError("holds weights only, no model", where=str(path), fix=fix)
    return _json(text, path)


def _zip_config(path: Path) -> tuple[Format, dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
                    raise InputError(f"has a member that leads out of the archive: {name!r}", where=str(path))
            if CONFIG not in names or METADATA not in names:
                raise InputError("is a zip archive, but no .keras model", where=str(path))
            config, metadata = archive.read(CONFIG), archive.read(METADATA)
            if archive.testzip() is not None:
                raise InputError("is damaged", where=str(path))
    except zipfile.BadZipFile as error:
        raise InputError(f"is truncated or damaged ({error})", where=str(path)) from None
    version = str(_json(metadata, path).get("keras_version", ""))
    return ("keras2" if version.startswith("2.") else "keras3"), _json(config, path)


def _json(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"its configuration is no JSON ({error})", where=str(path)) from None
    if not isinstance(found, dict):
        raise InputError("its configuration is no mapping", where=str(path))
    return found


def _children(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Configurations of the layers of a model; none for a subclassed model."""
    inner = config.get("config")
    layers = inner.get("layers", []) if isinstance(inner, dict) else inner
    return [layer for layer in layers or [] if isinstance(layer, dict)]


def _layers(config: dict[str, Any]) -> Iterator[LayerFacts]:
    for layer in _children(config):
        inner = layer.get("config") or {}
        name = layer.get("name") or (inner.get("name", "") if isinstance(inner, dict) else "")
        yield LayerFacts(str(name), str(layer.get("class_name", "")))
        yield from _layers(layer)


def _inputs(config: dict[str, Any]) -> tuple[Shape, ...]:
    """Sample shapes of the inputs: of the InputLayers, else what the first layer or the model was built with."""
    children = _children(config)
    found = [_batch_shape(layer) for layer in children if layer.get("class_name") == "InputLayer"]
    if not found and children:
        inner = config["config"]
        built = inner.get("build_input_shape") if isinstance(inner, dict) else None
        found = [_batch_shape(children[0]) or built]
    return tuple(tuple(shape[1:]) for shape in found if shape)


def _input_names(config: dict[str, Any]) -> tuple[str, ...]:
    """Names of the InputLayers."""
    layers = [layer for layer in _children(config) if layer.get("class_name") == "InputLayer" and _batch_shape(layer)]
    return tuple(str((layer.get("config") or {}).get("name", layer.get("name", ""))) for layer in layers)


def _batch_shape(layer: dict[str, Any]) -> list[int | None] | None:
    inner = layer.get("config") or {}
    if not isinstance(inner, dict):
        return None
    if layer.get("class_name") in ("Functional", "Sequential", "Model"):
        shapes = _inputs(layer)
        return [None, *shapes[0]] if shapes else None
    shape = inner.get("batch_input_shape") or inner.get("batch_shape")
    return list(shape) if shape else None


def _refuse_unsafe(config: Any, path: Path) -> None:
    """Refuse serialized Python code wherever it hides: Lambda layers run arbitrary code when a model is loaded."""
    if isinstance(config, list):
        for item in config:
            _refuse_unsafe(item, path)
    elif isinstance(config, dict):
        if config.get("class_name") in ("Lambda", "__lambda__"):
            inner = config.get("config")
            name = inner.get("name", "") if isinstance(inner, dict) else ""
            fix = "Use a built-in layer such as Rescaling; or, if you trust the file, set model.allow_unsafe: true"
            raise InputError(f"layer {name!r} is a Lambda: Python code, which is not loaded", where=str(path), fix=fix)
        for value in config.values():
            _refuse_unsafe(value, path)
