"""Run a `.tflite`. Needs no TensorFlow."""

from litemill.runtime.runner import Runner

__all__ = ["Runner"]
