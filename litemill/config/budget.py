"""What a variant must keep to be shipped, and how sure the gate must be of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from litemill.config.base import Section
from litemill.config.target_specs import Quantity
from litemill.tasks import METRICS, class_figures_of, metric_of

NO_LIMIT = -1
"""Kubeflow has no empty number: a limit that is not set travels as a negative one."""

TARGET_LIMITS: dict[str, Quantity] = {
    "max_latency_ms": "latency",
    "max_stored_bytes": "size",
    "max_arena_bytes": "arena",
    "max_memory_bytes": "memory",
    "min_delegated_fraction": "delegation",
}
"""Keys that limit something by target, and the quantity of the target that each is about."""

TARGET_PHRASES: dict[Quantity, str] = {
    "latency": "p50 on {target} at most {limit:g} ms",
    "size": "size stored on {target} at most {limit:,} bytes",
    "arena": "arena on {target} at most {limit:,} bytes",
    "memory": "peak memory on {target} at most {limit:,} bytes",
    "delegation": "share of delegated ops on {target} at least {limit:g}",
}
"""Limits on a target, by quantity."""

Fraction = Annotated[float, Field(gt=0, le=1)]


class Budget(Section):
    """The limits a variant must keep to be shipped. What is not given is not limited."""

    max_accuracy_drop: float | None = Field(
        None, ge=0, description="against the source model, in the metric's own unit; against the champion too"
    )
    min_accuracy: float | None = Field(None, description="least value of the metric, of which more is better")
    max_class_drop: float | None = Field(
        None, ge=0, description="of the class that loses most against the source model, in the figure told by class"
    )
    max_size_bytes: PositiveInt | None = Field(None, description="of the .tflite file")
    max_gzip_bytes: PositiveInt | None = Field(None, description="of the file compressed, as it is downloaded")
    max_latency_ms: dict[str, PositiveFloat] = Field(default_factory=dict, description="median by target")
    max_stored_bytes: dict[str, PositiveInt] = Field(
        default_factory=dict, description="what a target stores of the file, by target"
    )
    max_arena_bytes: dict[str, PositiveInt] = Field(default_factory=dict, description="working memory by target")
    max_memory_bytes: dict[str, PositiveInt] = Field(
        default_factory=dict, description="peak memory of the process, or of the NPU, by target"
    )
    min_delegated_fraction: dict[str, Fraction] = Field(
        default_factory=dict, description="share of the ops that the accelerator takes, by target"
    )
    confidence: float = Field(
        0.95, ge=0.5, lt=1, description="of all intervals that the gate uses together, over the variants of a run"
    )
    on_inconclusive: Literal["fail", "pass"] = Field(
        "fail", description="whether a variant may ship whose samples do not settle a limit"
    )

    def replaced(self, max_accuracy_drop: float, max_size_bytes: int) -> Budget:
        """This budget with other limits, as they travel through Kubeflow; a negative one (`NO_LIMIT`) means none."""
        limits = {"max_accuracy_drop": max_accuracy_drop, "max_size_bytes": max_size_bytes}
        given = {name: None if value < 0 else value for name, value in limits.items()}
        return Budget.model_validate({**self.model_dump(), **given})

    def by_target(self) -> Iterator[tuple[str, Quantity, str, float]]:
        """Each limit on a target: its key, the quantity, the target's name and the limit."""
        for key, quantity in TARGET_LIMITS.items():
            for target, limit in getattr(self, key).items():
                yield key, quantity, target, limit

    def phrases(self) -> list[str]:
        """The limits, one phrase each; empty when nothing is limited."""
        phrases = []
        if self.max_accuracy_drop is not None:
            phrases.append(f"accuracy drop at most {self.max_accuracy_drop:g}")
        if self.min_accuracy is not None:
            phrases.append(f"accuracy at least {self.min_accuracy:g}")
        if self.max_class_drop is not None:
            phrases.append(f"drop of the worst class at most {self.max_class_drop:g}")
        if self.max_size_bytes is not None:
            phrases.append(f"size at most {self.max_size_bytes:,} bytes")
        if self.max_gzip_bytes is not None:
            phrases.append(f"gzip size at most {self.max_gzip_bytes:,} bytes")
        for _, quantity, target, limit in self.by_target():
            phrases.append(TARGET_PHRASES[quantity].format(target=target, limit=limit))
        if phrases and self.on_inconclusive == "pass":
            phrases.append("what the samples do not settle may ship")
        return phrases


def check_limits(budget: Budget, task: str, metric: str) -> None:
    """Refuse limits that mean nothing for what variants are judged by.

    Args:
        budget: The limits.
        task: What the model is for.
        metric: What variants are judged by.

    Raises:
        ValueError: With the key, and what to write.
    """
    if metric in METRICS and METRICS[metric].fraction:
        for key in ("max_accuracy_drop", "min_accuracy", "max_class_drop"):
            value = getattr(budget, key)
            if value is not None and value > 1:
                points = "percentage points" if "drop" in key else "per cent"
                hint = f"for {value:g} {points} write {value / 100:g}" if value <= 100 else "0.01 is one point"
                raise ValueError(f"budget.{key} is {value:g}, but {metric} is a fraction of 1; {hint}")
    known = metric in METRICS or ":" in metric
    if budget.min_accuracy is not None and known and not metric_of(metric).higher_is_better:
        raise ValueError(f"budget.min_accuracy: of {metric} less is better; limit it by max_accuracy_drop")
    if budget.max_class_drop is not None and known and not class_figures_of(task, metric):
        raise ValueError(f"budget.max_class_drop: task {task} with metric {metric} has no figure for each class")
