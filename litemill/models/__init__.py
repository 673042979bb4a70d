"""Models: look into a file, load any supported source, keep it as an artifact. TensorFlow comes only when used."""

from __future__ import annotations

from litemill.models.facts import LayerFacts, ModelFacts
from litemill.models.fit import check_fit
from litemill.models.peek import peek
from litemill.models.store import load_model, save_model

__all__ = ["LayerFacts", "ModelFacts", "check_fit", "load_model", "peek", "save_model"]
