"""The scheme `rounded`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from litemill.extend import Converted
from litemill_fieldkit import RoundedOptions

MANTISSA = 23
"""Bits of a float32 that are its mantissa, the lowest ones."""


def from_saved_model(saved_model: Path, options: RoundedOptions, samples: NDArray[np.float32]) -> Converted:
    """Convert a SavedModel. Runs in a process that may import TensorFlow."""
    from litemill.extend import converter_of

    return Converted(rounded(converter_of(saved_model).convert(), options.bits), [])


def from_tflite(source: Path, options: RoundedOptions, samples: NDArray[np.float32]) -> Converted:
    """Convert a float `.tflite`, without TensorFlow."""
    return Converted(rounded(source.read_bytes(), options.bits), [])


def rounded(data: bytes, bits: int) -> bytes:
    """A `.tflite` whose float32 constants keep so many bits of their mantissa."""
    from ai_edge_litert.schema_py_generated import TensorType
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    dropped = MANTISSA - bits
    constants = {
        tensor.buffer for graph in model.subgraphs for tensor in graph.tensors if tensor.type == TensorType.FLOAT32
    }
    for buffer in (model.buffers[index] for index in sorted(constants)):
        if buffer.data is None or len(buffer.data) == 0:
            continue
        words = np.frombuffer(bytes(buffer.data), "<u4")
        nearest = (words + (1 << (dropped - 1))) >> dropped << dropped
        buffer.data = np.frombuffer(nearest.astype("<u4").tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
