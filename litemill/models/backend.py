"""TensorFlow and Keras 2 (tf_keras), imported in one place, late and quietly.

TFMOT needs `TF_USE_LEGACY_KERAS=1` before TensorFlow is imported, and importing TensorFlow takes seconds: everything in
Litemill that needs them calls these functions, inside a function.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)


def tensorflow() -> Any:
    """The TensorFlow module, set to Keras 2; its native code logs nothing (its errors raise anyway)."""
    if "tensorflow" not in sys.modules:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _without_native_log():
            importlib.import_module("tensorflow")
        sys.modules["tensorflow"].get_logger().setLevel(logging.ERROR)
        logging.getLogger("absl").setLevel(logging.ERROR)
    return sys.modules["tensorflow"]


def tf_keras() -> Any:
    """The Keras 2 module that TFMOT and the TFLite converter work with."""
    tensorflow()
    module = importlib.import_module("tf_keras")
    module.utils.disable_interactive_logging()
    return module


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and ask for deterministic kernels."""
    tf_keras().utils.set_random_seed(seed)
    tensorflow().config.experimental.enable_op_determinism()


@contextmanager
def _without_native_log() -> Iterator[None]:
    """Keep aside what native code writes to stderr during an import: TF_CPP_MIN_LOG_LEVEL does not reach it."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            log.debug("while importing TensorFlow: %s", kept.read().decode(errors="replace"))
