"""Run variants where they will run: targets, statistics, parity."""

from litemill.benchmark.bundle import benchmark_bundle, check_target
from litemill.benchmark.files import benchmark_files

__all__ = ["benchmark_bundle", "benchmark_files", "check_target"]
