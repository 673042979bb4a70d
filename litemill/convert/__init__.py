"""From a SavedModel to `.tflite` variants: one function for each conversion scheme."""

from litemill.convert.bundle import convert_bundle

__all__ = ["convert_bundle"]
