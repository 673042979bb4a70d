"""Prepare the data for a model: what the config leaves open of an image's size and colour is what the model takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litemill.artifacts.storage import fetch
from litemill.config.run import DataSpec, ModelSpec
from litemill.config.written import model_of, section_of
from litemill.data.prepare import prepare_data as write_splits
from litemill.errors import InputError
from litemill.evidence.sources import DatasetManifest
from litemill.models.facts import ModelFacts
from litemill.models.peek import peek

COLORS = {1: "grayscale", 3: "rgb", 4: "rgba"}
"""Colour mode by number of channels."""


def prepare_data(
    data: DataSpec | Mapping[str, Any],
    *,
    out: str | Path,
    model: ModelSpec | Mapping[str, Any] | str | Path | None = None,
    seed: int = 0,
    sha256: str = "",
) -> DatasetManifest:
    """Read a data set once and write its train, calibration and test splits, preprocessed.

    Args:
        data: The `data` section of a run config.
        out: Folder to write; it must not exist yet.
        model: The source model: it says the type of each input, and what the config leaves open of an image's size
            and colour. Without it, inputs are float32.
        seed: Seed of every draw.
        sha256: Digest of the data's source where it is known already, as `digest` gives it.

    Returns:
        The manifest: shapes, classes, and how many samples each split has.

    Raises:
        ConfigError: A key of `data` or `model` is wrong.
        InputError: The data or the model cannot be used, or the config asks for images that the model cannot take.

    Example:
        >>> import litemill as lm
        >>> made = lm.prepare_data({"kind": "digits", "preprocessing": {"scale": 1 / 16}}, out="data")
        >>> made.input_shape, made.classes, made.splits["test"].samples
        ([8, 8, 1], 10, 450)
    """
    source = None if model is None else model_of(model)
    return prepare_for_model(section_of(DataSpec, data, "data"), source, seed, Path(out), sha256)


def prepare_for_model(
    data: DataSpec, model: ModelSpec | None, seed: int, out: Path, source_sha256: str = ""
) -> DatasetManifest:
    """Write the splits of a data set, images as the model takes them (see `prepare_data`).

    Args:
        data: The data section of a run config.
        model: The source model; None for float32 inputs of which the config says all there is to know.
        seed: Of every draw.
        out: Folder to write.
        source_sha256: Digest of the data's source where it is known already.

    Raises:
        InputError: The data or the model can't be used, or the config asks for images that the model can't take.
    """
    if model is None:
        return write_splits(data, seed, out, source_sha256)
    facts = peek(fetch(model.uri), allow_unsafe=model.allow_unsafe, from_quantized=model.from_quantized)
    return write_splits(fitted(data, facts), seed, out, source_sha256, input_dtypes(facts))


def input_dtypes(model: ModelFacts) -> dict[str, str]:
    """Types of a model's inputs as the data room takes them: by name, of the only one under the empty name."""
    if len(model.input_dtypes) == 1:
        return {"": model.input_dtype}
    return dict(zip(model.input_names, model.input_dtypes, strict=False))


def fitted(data: DataSpec, model: ModelFacts) -> DataSpec:
    """Fill in the size and colour of images from the model's input, as far as it says them.

    Raises:
        InputError: The config says another size or colour.
    """
    shape = model.input_shape
    if not data.encodes_images() or shape is None or len(shape) != 3:
        return data
    height, width, channels = shape
    now = data.preprocessing
    found: dict[str, Any] = {}
    if height and width:
        found["resize"] = [height, width]
        if now.resize and now.resize != found["resize"]:
            _refuse(model, "resize", str(now.resize), f"images of {height}×{width}")
    if channels is not None and channels not in COLORS:
        what = f"takes {channels} channels; images have {', '.join(map(str, COLORS))}"
        raise InputError(what, where=str(model.path), fix="Give arrays: data.kind numpy or npz")
    if channels in COLORS:
        found["color"] = COLORS[channels]
        if now.color and now.color != found["color"]:
            _refuse(model, "color", now.color, f"{channels} channel{'s' if channels > 1 else ''}")
    return data.model_copy(update={"preprocessing": now.model_copy(update=found)})


def _refuse(model: ModelFacts, key: str, asked: str, takes: str) -> None:
    fix = f"Leave it out: without it the model's own {'size' if key == 'resize' else 'colour mode'} is used"
    what = f"is {asked}, but {model.path.name} takes {takes}"
    raise InputError(what, where=f"data.preprocessing.{key}", fix=fix)
