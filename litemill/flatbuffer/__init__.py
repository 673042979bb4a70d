"""Read a `.tflite`, and rewrite it smaller. Needs no TensorFlow."""

from litemill.flatbuffer.graph import read_graph
from litemill.flatbuffer.reader import read_model
from litemill.flatbuffer.sections import measure_sections
from litemill.flatbuffer.sizes import FileSizes, measure_sizes
from litemill.flatbuffer.slim import canonical_digest, slim
from litemill.flatbuffer.slimming import slim_file, slim_files

__all__ = [
    "FileSizes",
    "canonical_digest",
    "measure_sections",
    "measure_sizes",
    "read_graph",
    "read_model",
    "slim",
    "slim_file",
    "slim_files",
]
