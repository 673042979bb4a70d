"""What a train-aware step found out: one model a step, stored as the `measured` of its record."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SPARSITY_TOLERANCE = 0.02
"""Sparsity that a layer may miss, in training and from there to the file: small kernels and blocks cannot hit every
fraction."""


class TrainingFindings(BaseModel):
    """How a fine-tuning went; the losses are those of its last epoch, and of tasks without right and wrong alone."""

    model_config = ConfigDict(extra="allow")

    epochs: int
    steps: int
    loss: float
    accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None


class KernelFindings(BaseModel):
    """The kernel of a layer as it stands in the Keras model."""

    type: str = Field(description="of the layer")
    shape: list[int] = Field(description="in Keras's layout, output channels last")
    sparsity: float
    distinct: int = Field(0, description="distinct values")
    distinct_in_channel: int = Field(0, description="most distinct values in one output channel")


class StepFindings(BaseModel):
    """What every step finds."""

    model_config = ConfigDict(extra="ignore")

    training: TrainingFindings | None = None

    def stored(self) -> dict[str, Any]:
        """As it stands in a record: plain data, what is not known left out."""
        return self.model_dump(mode="json", exclude_none=True)


class FinetuneFindings(StepFindings):
    """Of `finetune`."""


class LayerFindings(StepFindings):
    """Of the steps that work on kernels: each layer touched, and why the others with weights were not."""

    layers: dict[str, KernelFindings]
    left_alone: dict[str, str] = Field(default_factory=dict)


class PruneFindings(LayerFindings):
    """Of `prune`."""

    target: float = Field(0.0, description="the sparsity asked for")


class ClusterFindings(LayerFindings):
    """Of `cluster`."""

    clusters: int
    per_channel: bool = False


class QatFindings(StepFindings):
    """Of `qat`."""

    method: str = Field(description="QAT, PQAT, CQAT or PCQAT")
    float_layers: dict[str, str] = Field(default_factory=dict, description="reason by name of a layer left in float")
    rewritten: dict[str, str] = Field(default_factory=dict, description="what became of a layer in another form")
