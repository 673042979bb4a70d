"""Run `.tflite` variants over a test split and compare them with the baseline. Needs no TensorFlow."""

from litemill.evaluate.bundle import evaluate_bundle

__all__ = ["evaluate_bundle"]
