"""A loaded `.tflite` with the layers that can be rebuilt from it, for advice: they have seen no samples."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from litemill.models.rebuild.graph import Refused
from litemill.models.rebuild.model import rebuild
from litemill.models.source import LoadedModel


def with_layers(source: LoadedModel, inputs: Sequence[str] = (), *, batch_norm: bool) -> LoadedModel:
    """The source with a Keras model, or with the reason why it has none among its notes.

    Args:
        source: A `.tflite`.
        inputs: Names of its inputs by the data, where it has several.
        batch_norm: Whether BatchNormalization is put back.
    """
    if source.facts.only_graph:
        return source
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        file = Path(folder) / "model.tflite"
        source.export(file)
        try:
            return replace(source, keras=rebuild(file, inputs, batch_norm=batch_norm).model)
        except Refused as error:
            return replace(source, notes=(*source.notes, f"its layers cannot be rebuilt: {error}"))
