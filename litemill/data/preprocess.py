"""The one preprocessing contract for all kinds: channel order, x·scale + offset, (x − mean)/std over the last axis.

Colour mode and size belong to decoding: see `litemill.data.images`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import joined, named
from litemill.config.data_kinds import DATA_KINDS
from litemill.config.run import DataSpec, Preprocessing
from litemill.data.source import Samples
from litemill.errors import InputError


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


def model_inputs(x: Samples, data: DataSpec) -> NDArray[Any]:
    """Turn raw samples into what the model takes: each input by its own preprocessing."""
    if not data.inputs:
        return preprocess(x, data.preprocessing)
    parts = named(x)
    return joined({name: preprocess(parts[name], spec) for name, spec in data.inputs.items()})


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
