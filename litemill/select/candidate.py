"""A candidate: one variant with all its evidence. Gate, ranking, report and tracking look at nothing else."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.variant import VariantManifest


class Candidate(BaseModel):
    """A variant with its evaluation and its measurement on each target (by the target's name)."""

    variant: VariantManifest
    evaluation: Evaluation | None = None
    measurements: dict[str, Measurement] = Field(default_factory=dict)
    files: list[Path] = Field(default_factory=list, exclude=True, description="where it was read from, as far as there")

    @property
    def recipe(self) -> str:
        """Name of the recipe that made it."""
        return self.variant.recipe

    @property
    def failure(self) -> str:
        """Why there is nothing to judge, or an empty string: the same words in table, report and MLflow."""
        if self.variant.status == "failed":
            return self.variant.reason or "the conversion failed"
        if self.evaluation is None:
            return "it was not evaluated"
        if self.evaluation.status == "failed":
            return f"evaluation failed: {self.evaluation.reason}"
        return ""

    @property
    def loss(self) -> float:
        """The metric turned so that smaller is better. Only where `failure` is empty."""
        if self.evaluation is None:
            raise ValueError(f"{self.recipe} was not evaluated")
        return -self.evaluation.value if self.evaluation.higher_is_better else self.evaluation.value

    def latency(self, target: str) -> Measurement | None:
        """The measurement on a target when it holds a latency that may be ranked (an emulated one may not)."""
        measurement = self.measurements.get(target)
        if measurement is None or measurement.status == "failed" or measurement.kind == "emulated":
            return None
        return measurement if "p50" in measurement.latency_ms else None

    def stored(self, target: str) -> int | None:
        """Bytes that a target stores of it, where the target takes it and tells them."""
        measurement = self.measurements.get(target)
        return measurement.realised_bytes if measurement and measurement.status == "ok" else None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.variant.size_bytes

    @property
    def gzip(self) -> int:
        """Bytes of the file, compressed."""
        return self.variant.gzip_bytes

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one inference, where the graph was read."""
        return self.variant.graph.macs or None if self.variant.graph else None

    def arena(self, target: str) -> int | None:
        """Bytes of working memory on a target that takes it and tells them."""
        measurement = self.measurements.get(target)
        return measurement.arena_bytes if measurement and measurement.status == "ok" else None

    def memory(self, target: str) -> int | None:
        """Peak memory in bytes on a target that takes it and tells it; that of an emulated device means nothing."""
        measurement = self.measurements.get(target)
        told = measurement is not None and measurement.status == "ok" and measurement.kind != "emulated"
        return measurement.peak_memory_bytes if measurement and told else None

    def delegated(self, target: str) -> float | None:
        """Share of its ops that the accelerator of a target takes, where it tells that."""
        measurement = self.measurements.get(target)
        return measurement.delegated_fraction if measurement and measurement.status == "ok" else None

    def median_ms(self, target: str) -> float | None:
        """Its median latency on a target, where there is one that may be ranked."""
        found = self.latency(target)
        return found.latency_ms["p50"] if found else None
