"""A job of the process that runs variants: typed, so that what is sent is what is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from litemill.config.data_kinds import Kernels
from litemill.tasks import OutputIs


class EvaluateJob(BaseModel):
    """One variant to run over the test split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    variant: Path = Field(description="a `.tflite`")
    dataset: Path = Field(description="a Dataset artifact")
    kernels: Kernels
    output: str = Field("", description="name of the output that is judged; empty where there is one")
    output_is: OutputIs = Field("", description="logits, probabilities, or empty where that is not known")
    out: Path = Field(description="folder for what is found")
