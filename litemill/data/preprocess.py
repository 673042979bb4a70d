"""The one preprocessing contract: x·scale + offset, then (x − mean)/std over the last axis, in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from litemill.data.source import Samples
from litemill.errors import InputError
from litemill.spec import Preprocessing


def check_preprocessing(spec: Preprocessing, shape: tuple[int, ...]) -> None:
    """Refuse a mean or std that does not fit the channels (the last axis) of a sample.

    Raises:
        InputError: Neither one value nor one a channel.
    """
    channels = shape[-1] if shape else 1
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, channels):
            what = f"has {len(values)} values for samples of shape {list(shape)}"
            raise InputError(
                what, where=f"data.preprocessing.{name}", fix=f"Give one value or {channels}, one a channel"
            )


def preprocess(x: Samples, spec: Preprocessing) -> NDArray[np.float32]:
    """Turn raw samples of any number type into model inputs of the same shape; an overflow becomes infinite."""
    out = x.astype(np.float32)
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
