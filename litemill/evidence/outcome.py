"""What a variant does: how well it predicts, and how it runs on a target."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from litemill.evidence.base import Estimate, Evidence, Status
from litemill.evidence.interface import Interface


class Evaluation(Evidence):
    """`evaluation.json`; the outcome for each test sample is in `samples.npz` beside it (`outcome`, `prediction`)."""

    columns: ClassVar[tuple[str, ...]] = ("metric", "value", "drop", "agreement", "samples", "status", "reason")

    recipe: str
    status: Status = "ok"
    reason: str = ""
    passes: bool = Field(False, description="it failed for want of memory, time or a device, and is tried again")
    sha256: str = Field("", description="of the .tflite that was evaluated")
    data_sha256: str = ""
    metric: str = "top1"
    higher_is_better: bool = True
    kernels: str = Field("xnnpack", description="kernel set the outputs come from")
    samples: int = 0
    value: float = 0.0
    drop: Estimate | None = Field(None, description="loss against the baseline on the same samples; positive is worse")
    agreement: float | None = Field(None, description="fraction of samples with the baseline's prediction")
    per_class: list[float | None] = Field(
        default_factory=list, description="a figure by class or label; none where no sample tells it"
    )
    per_class_metric: str = Field("accuracy", description="which figure that is")
    versions: dict[str, str] = Field(default_factory=dict, description="of the package that brought the metric")
    confusion: list[list[int]] = Field(default_factory=list, description="rows true, columns predicted")
    interface: Interface | None = Field(None, description="what an app that runs the file must know")


class Parity(BaseModel):
    """Outputs on a target against the reference for its kernel set, on the same real samples."""

    reference: str
    samples: int
    max_error: float = Field(description="largest absolute difference relative to the spread of the reference outputs")
    agreement: float | None = Field(None, description="share of equal decisions; none where outputs are numbers")
    ok: bool
    steps: int | None = Field(None, description="the same difference in steps of the output's quantization")


class Measurement(Evidence):
    """`measurement.json`: one variant on one target."""

    columns: ClassVar[tuple[str, ...]] = (
        *("target", "kind", "status", "reason", "latency_ms", "ratio_to_float32", "comparison"),
        *("delegated_fraction", "arena_bytes", "peak_memory_bytes", "realised_bytes"),
    )

    recipe: str
    target: str
    status: Status = "ok"
    reason: str = ""
    passes: bool = Field(False, description="it failed for want of memory, time or a device, and is tried again")
    kind: Literal["measured", "estimated", "emulated"] = "measured"
    sha256: str = ""
    requested_accelerator: str = ""
    actual_accelerator: str = ""
    delegated_fraction: float | None = Field(None, description="share of ops the accelerator took")
    runs: int = 0
    latency_ms: dict[str, float] = Field(default_factory=dict, description="p50, p90 and, with 2,000 samples, p99")
    latency_ci_ms: dict[str, tuple[float, float]] = Field(default_factory=dict)
    init_ms: float | None = None
    first_inference_ms: float | None = None
    ratio_to_float32: Estimate | None = Field(None, description="p50 over the interleaved float32 baseline's p50")
    ratio_to_champion: Estimate | None = Field(
        None, description="the same over the p50 of the registry's champion, measured in the same session"
    )
    comparison: str = Field("", description="faster, slower or no difference shown, against float32")
    peak_memory_bytes: int | None = None
    arena_bytes: int | None = None
    realised_bytes: int | None = Field(None, description="the size the target stores")
    plain_bytes: int | None = Field(
        None, description="of model.tflite, where the target stores the file with look-up tables in its place"
    )
    plain_arena_bytes: int | None = Field(None, description="likewise the arena that model.tflite would need")
    parity: Parity | None = None
    device: dict[str, Any] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict, description="what only this kind of target reports")
    versions: dict[str, str] = Field(default_factory=dict, description="of the package that brought the kind of target")
