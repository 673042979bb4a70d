"""TensorFlow and Keras 2 (tf_keras), imported in one place, late and quietly.

TFMOT needs `TF_USE_LEGACY_KERAS=1` before TensorFlow is imported, and importing TensorFlow takes seconds: everything in
Litemill that needs them calls these functions, inside a function.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN's reordered sums would make results depend on the machine's vector units
}


def tensorflow() -> Any:
    """The TensorFlow module, set to Keras 2 and to warnings only."""
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    module = importlib.import_module("tensorflow")
    module.get_logger().setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    return module


def tf_keras() -> Any:
    """The Keras 2 module that TFMOT and the TFLite converter work with."""
    tensorflow()
    return importlib.import_module("tf_keras")


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and ask for deterministic kernels."""
    tf_keras().utils.set_random_seed(seed)
    tensorflow().config.experimental.enable_op_determinism()
