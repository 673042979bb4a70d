"""The one preprocessing contract for all kinds: channel order, x·scale + offset, (x − mean)/std over the last axis.

Colour mode and size belong to decoding: see `litemill.data.images`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import joined, named
from litemill.config.data_kinds import DATA_KINDS
from litemill.config.run import DataSpec, Preprocessing
from litemill.data.source import Samples
from litemill.errors import InputError

FLOAT = "float32"
Dtypes = Mapping[str, str]
"""Type of each input by name, as numpy calls it; of the only one under the empty name."""
FLOATS: Dtypes = {}


def check_preprocessing(data: DataSpec, shape: tuple[int, ...], name: str = "") -> None:
    """Refuse preprocessing that does not fit the samples of an input; the only one has no name.

    Raises:
        InputError: A mean or std that is neither one value nor one a channel (the last axis), a channel order for other
            than three channels, a resize or colour mode for samples that are no encoded images.
    """
    spec = data.inputs[name] if name else data.preprocessing
    place = f"data.inputs.{name}" if name else "data.preprocessing"
    if (spec.resize or spec.color) and not data.record.images:
        able = ", ".join(kind.name for kind in DATA_KINDS.records() if kind.images)
        what = f"resize and color are for encoded images ({able}), not for kind {data.kind}"
        raise InputError(what, where=place)
    if spec.channel_order == "bgr" and shape[-1:] != (3,):
        raise InputError(f"bgr needs three channels, samples are {list(shape)}", where=f"{place}.channel_order")
    channels = shape[-1] if shape else 1
    for key, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, channels):
            what = f"has {len(values)} values for samples of shape {list(shape)}"
            raise InputError(what, where=f"{place}.{key}", fix=f"Give one value or {channels}, one a channel")


def model_inputs(x: Samples, data: DataSpec, dtypes: Dtypes = FLOATS) -> NDArray[Any]:
    """Turn raw samples into what the model takes: each input by its own preprocessing, in its own type.

    Args:
        x: Raw samples.
        data: What is done to them.
        dtypes: The type of each input by name, of the only one under the empty name; float32 where it is not there.

    Raises:
        InputError: Values that such an integer or boolean input cannot hold exactly.
    """
    if not data.inputs:
        return _typed(x, data.preprocessing, stored_dtype(dtypes.get("", FLOAT)), "")
    parts, stored = named(x), {name: stored_dtype(dtypes.get(name, FLOAT)) for name in data.inputs}
    return joined({name: _typed(parts[name], own, stored[name], name) for name, own in data.inputs.items()})


def stored_dtype(dtype: str) -> np.dtype[Any]:
    """How samples for an input of that type are stored: integers and booleans as they are, all else as float32.

    Raises:
        InputError: It takes texts, or something else that is no number.
    """
    if dtype.startswith(("float", "bfloat")):
        return np.dtype("<f4")
    try:
        found = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "biu":
        fix = "Give a model whose inputs are numbers: split texts into tokens before it"
        raise InputError(f"the model takes {dtype}, which no target can be given", where="model", fix=fix)
    return found


def _typed(x: Samples, spec: Preprocessing, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Samples of one input as the model takes them."""
    if dtype.kind == "f":
        return preprocess(x, spec)
    untouched = spec.scale == 1.0 and spec.offset == 0.0 and not spec.mean and not spec.std
    values: NDArray[Any] = (x[..., ::-1] if spec.channel_order == "bgr" else x) if untouched else preprocess(x, spec)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    whole: NDArray[Any] = values if values.dtype.kind in "biu" else np.rint(values)
    wrong = (whole != values) | (whole < low) | (whole > high)
    if wrong.any():
        place = f"data.inputs.{name}" if name else "data.preprocessing"
        what = f"gives {values[wrong].flat[0]:.6g}, but the model takes {dtype.name}"
        fix = "Leave scale, offset, mean and std out where the model scales by itself; or give the data that it takes"
        raise InputError(what, where=place, fix=fix)
    return whole.astype(dtype)


def preprocess(x: Samples, spec: Preprocessing) -> NDArray[np.float32]:
    """Turn raw samples of any number type into model inputs of the same shape; an overflow becomes infinite."""
    out = (x[..., ::-1] if spec.channel_order == "bgr" else x).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks that the result is finite
        if spec.scale != 1.0:
            out *= np.float32(spec.scale)
        if spec.offset != 0.0:
            out += np.float32(spec.offset)
        if spec.mean:
            out -= np.asarray(spec.mean, np.float32)
        if spec.std:
            out /= np.asarray(spec.std, np.float32)
    return out
