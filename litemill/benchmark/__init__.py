"""Run variants where they will run: targets, statistics, parity."""

from litemill.benchmark.bundle import benchmark_bundle, check_target

__all__ = ["benchmark_bundle", "check_target"]
