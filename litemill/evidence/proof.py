"""What the samples of a run prove about its variants: the intervals that the gate goes by."""

from __future__ import annotations

from pydantic import BaseModel, Field

from litemill.evidence.base import Estimate


class ClassDrop(BaseModel):
    """The class that lost most."""

    index: int = Field(description="of the class or label")
    figure: str = Field("accuracy", description="what is told by class")
    drop: Estimate = Field(description="the interval is that of the largest true drop of a class")


class Proof(BaseModel):
    """What the samples prove about one variant. All intervals of a run hold together, at the budget's confidence."""

    drop: Estimate | None = Field(None, description="against the baseline")
    accuracy: Estimate | None = Field(None, description="the metric itself, where the budget limits it")
    class_drop: ClassDrop | None = Field(None, description="where the budget limits it")
    champion_drop: Estimate | None = Field(None, description="against the registry's champion")
    champion_class_drop: ClassDrop | None = None


class Family(BaseModel):
    """How the intervals of a run were made to hold together."""

    variants: int = Field(0, description="different files that were judged together")
    confidence: float = 0.95
    critical: float = Field(1.96, description="standard errors on either side; 1.96 is one 95 % interval alone")
    method: str = Field("", description="max-T or Bonferroni")
