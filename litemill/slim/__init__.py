"""Rewrite a `.tflite` smaller, with proof that it computes the same. Needs no TensorFlow."""

from litemill.slim.files import slim_file, slim_files
from litemill.slim.rewrite import canonical_digest, slim

__all__ = ["canonical_digest", "slim", "slim_file", "slim_files"]
