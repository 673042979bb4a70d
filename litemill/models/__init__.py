"""Models: look into a file, load any supported source, keep it as an artifact. TensorFlow comes only when used."""

from __future__ import annotations

from pathlib import Path

from litemill.evidence import ModelManifest
from litemill.models.peek import LayerFacts, ModelFacts, check_fit, peek
from litemill.models.store import load_model, save_model

__all__ = ["LayerFacts", "ModelFacts", "check_fit", "import_model", "load_model", "peek", "save_model"]


def import_model(uri: str, dataset: Path, out: Path, baseline: Path, origin_sha256: str = "") -> ModelManifest:
    """See `litemill.models.importing`: imported late, because what it converts with imports this package."""
    from litemill.models.importing import import_model as run

    return run(uri, dataset, out, baseline, origin_sha256)
