"""Models: look into a file, load any supported source, keep it as an artifact. TensorFlow comes only when used."""

from __future__ import annotations

from litemill.models.peek import LayerFacts, ModelFacts, check_fit, peek
from litemill.models.store import load_model, save_model

__all__ = ["LayerFacts", "ModelFacts", "check_fit", "load_model", "peek", "save_model"]
