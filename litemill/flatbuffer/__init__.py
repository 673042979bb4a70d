"""Read a `.tflite`: its graph, weights and sizes. Needs no TensorFlow."""

from litemill.flatbuffer.graph import read_graph
from litemill.flatbuffer.reader import read_model
from litemill.flatbuffer.sections import measure_sections
from litemill.flatbuffer.sizes import FileSizes, measure_sizes

__all__ = ["FileSizes", "measure_sections", "measure_sizes", "read_graph", "read_model"]
