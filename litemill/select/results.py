"""`results.json`: what a run found and what it says to ship. Stable: fields are added, never renamed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from litemill.config.budget import Budget
from litemill.evidence.base import Estimate, Status, Verdict
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.display import flat, frame, rows_html
from litemill.evidence.outcome import Measurement
from litemill.evidence.proof import Family, Proof

COLUMNS = ("accuracy", "accuracy_drop", "size_bytes", "gzip_bytes", "verdict", "status", "reason")
"""What the table in a notebook shows of each variant, beside its median on each target."""


class Entry(BaseModel):
    """Base of what `results.json` holds. Unknown keys are kept out of the way: a newer file stays readable."""

    model_config = ConfigDict(extra="ignore")


class TargetResult(Entry):
    """One variant on one target: the part of its measurement that a reader compares."""

    status: Status = "ok"
    reason: str = ""
    kind: Literal["measured", "estimated", "emulated"] = "measured"
    latency_ms: dict[str, float] = Field(default_factory=dict)
    ratio_to_float32: Estimate | None = None
    ratio_to_champion: Estimate | None = None
    comparison: str = ""
    init_ms: float | None = None
    first_inference_ms: float | None = None
    peak_memory_bytes: int | None = None
    arena_bytes: int | None = None
    realised_bytes: int | None = None
    plain_bytes: int | None = Field(
        None, description="of model.tflite, where the target stores the file with look-up tables in its place"
    )
    plain_arena_bytes: int | None = Field(None, description="likewise the arena that model.tflite would need")
    delegated_fraction: float | None = None
    accelerator: str = ""
    output_steps: int | None = Field(
        None, description="largest difference from the reference kernels' outputs, in steps of their quantization"
    )
    answers: bool | None = Field(None, description="whether it computes what the reference does; None: not compared")

    @classmethod
    def of(cls, measurement: Measurement) -> TargetResult:
        """The comparable part of a measurement."""
        shared = {name: getattr(measurement, name) for name in cls.model_fields if hasattr(measurement, name)}
        parity = measurement.parity
        return cls(
            **shared,
            accelerator=measurement.actual_accelerator,
            output_steps=parity.steps if parity else None,
            answers=parity.ok if parity else None,
        )


class VariantResult(Entry):
    """One recipe: what it is, what it costs, what it is worth, and whether the budget admits it."""

    recipe: str
    steps: list[str]
    status: Status = "ok"
    reason: str = Field("", description="why it failed, or why the verdict is what it is")
    accuracy: float | None = None
    accuracy_drop: Estimate | None = Field(None, description="against the baseline; positive is worse")
    metric: str = ""
    size_bytes: int = 0
    gzip_bytes: int = 0
    sha256: str = ""
    sparsity: float | None = None
    verdict: Verdict = "fail"
    pareto: bool = False
    rank: int | None = Field(None, description="1 is the winner; none where the variant is not admissible")
    options: dict[str, Any] = Field(default_factory=dict, description="of the conversion scheme")
    measurements: dict[str, TargetResult] = Field(default_factory=dict)
    refused_by: list[str] = Field(default_factory=list, description="keys that keep it from being shipped")
    macs: int | None = Field(None, description="multiply-accumulates of one inference")
    proof: Proof = Field(Proof(), description="intervals the gate went by, of all variants together")


class ChampionResult(VariantResult):
    """The registry's champion, evaluated and measured beside the variants; failed where there is none."""

    version: ChampionVersion


class Results(Entry):
    """`results.json` of a run."""

    schema_version: int = 1
    name: str
    winner: str = Field("", description="recipe to ship; empty where no variant is admissible")
    reason: str = Field("", description="why the winner won, or why there is none, in one sentence")
    objective: str
    budget: Budget = Budget()
    baseline: float | None = Field(None, description="the metric of the float32 baseline, which every drop is against")
    higher_is_better: bool = Field(True, description="of the metric; a drop is a loss either way")
    mlflow_run_id: str = ""
    variants: list[VariantResult] = Field(default_factory=list, description="admissible ones first, by rank")
    champion: ChampionResult | None = Field(None, description="where the run has a registered model")
    family: Family = Field(Family(), description="how the intervals of `proof` were made to hold together")
    grounds: str = Field("", description="what proves that the winner may ship, beside `reason`, in sentences")
    decision: str = Field("", description="what is decided and what proves it, in sentences")

    def _repr_html_(self) -> str:
        """The ranked table, for a notebook."""
        title = f"{self.name}: ship {self.winner}" if self.winner else f"{self.name}: nothing to ship"
        rows = []
        for one in self.variants:
            medians = {f"{target} p50 ms": value for target, value in _medians(one).items()}
            fields = {name: getattr(one, name) for name in COLUMNS}
            rows.append({"": "★ " * (one.recipe == self.winner) + one.recipe} | fields | medians)
        return rows_html(f"{title}. {self.reason}", rows)

    def to_frame(self) -> Any:
        """A pandas frame with one row a variant, ranked; bounds of intervals beside their values.

        Raises:
            LitemillError: pandas is not installed.
        """
        return frame(
            [
                flat(one) | {f"{target} p50 ms": value for target, value in _medians(one).items()}
                for one in self.variants
            ]
        )


def _medians(variant: VariantResult) -> dict[str, float]:
    """Median latency by target, of those that have one."""
    return {name: found.latency_ms["p50"] for name, found in variant.measurements.items() if "p50" in found.latency_ms}
