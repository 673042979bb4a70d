"""Litemill: from one trained Keras model to the `.tflite` file worth shipping, with the evidence."""

__version__ = "0.1.0"
