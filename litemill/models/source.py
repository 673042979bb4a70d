"""Load the source model a user brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litemill.errors import InputError
from litemill.models.backend import tf_keras
from litemill.models.peek import ModelFacts, peek


def load_source(path: Path) -> tuple[ModelFacts, Any]:
    """Load a trained Keras 2 model, not compiled, without running code from the file.

    Returns:
        What the file says, and the tf_keras model.

    Raises:
        InputError: See `peek`; or a layer is unknown, or the weights don't fit.
    """
    facts = peek(path)
    if facts.format == "keras3":
        fix = "Save it with tf_keras, or with Keras 2"
        raise InputError("was saved by Keras 3, which the compression tools can't read", where=str(path), fix=fix)
    try:
        model = tf_keras().models.load_model(str(path), compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"Keras cannot load it: {reason}", where=str(path)) from error
    if not model.built or not getattr(model, "inputs", None):
        fix = "Call the model on a sample before saving it, or build it with the functional API"
        raise InputError("has no input shape", where=str(path), fix=fix)
    return facts, model
