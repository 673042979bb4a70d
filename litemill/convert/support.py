"""Which conversions a float `.tflite` can be the source of, known without converting, so that a plan can tell."""

from __future__ import annotations

from collections.abc import Sequence

from litemill.config.steps import Options, Step

FROM_TFLITE: dict[str, frozenset[str]] = {
    "float32": frozenset(),
    "float16": frozenset(),
    "dynamic": frozenset(),
    "int8": frozenset({"io", "per_channel"}),
    "int16x8": frozenset({"io"}),
    "weights-int8": frozenset(),
    "weights-int4": frozenset(),
}
"""Schemes that litert-quantizer makes of a float `.tflite`, and the options of each that it knows."""


def tflite_obstacle(steps: Sequence[Step]) -> str:
    """Why a recipe cannot work on a model that is a float `.tflite`; empty where nothing speaks against it.

    Args:
        steps: Of the recipe; the last is its scheme.
    """
    for step in steps:
        if not step.is_scheme:
            return f"{step.name} needs a Keras model: a .tflite has no layers that could be trained"
        if step.name not in FROM_TFLITE:
            return f"{step.name} needs a Keras model or a SavedModel: litert-quantizer does not make it from a .tflite"
        for name, value in _set(step.parsed()).items():
            if name not in FROM_TFLITE[step.name] or value == "uint8":
                asked = f"{step.name} with {name}: {value}"
                return f"{asked} needs a Keras model or a SavedModel: litert-quantizer does not make it from a .tflite"
    return ""


def _set(options: Options) -> dict[str, object]:
    """The options that differ from their defaults."""
    return options.model_dump(exclude_defaults=True)
