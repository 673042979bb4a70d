"""Rewrite a `.tflite` smaller, with proof that it computes the same. Needs no TensorFlow."""
