"""Data sets: sources to splits on disk, calibration sets, checks. Nothing here imports TensorFlow."""

from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.source import SourceFacts
from litemill.data.splits import Split, Splits

__all__ = ["SourceFacts", "Split", "Splits", "check_source", "prepare_data"]
