"""What an app that runs a `.tflite` must know and the file does not say: what goes in, and what comes out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from litemill.tasks import OutputIs


class Interface(BaseModel):
    """How raw samples become inputs, and what outputs mean. Written by the evaluation, which did both."""

    model_config = ConfigDict(extra="ignore")

    task: str = "classification"
    input_shape: list[int] = Field(default_factory=list, description="of one sample; empty where there are several")
    inputs: dict[str, list[int]] = Field(default_factory=dict, description="shape by input, of several")
    preprocessing: dict[str, Any] = Field(
        default_factory=dict, description="as the config has it in data.preprocessing; of several inputs by their names"
    )
    labels: list[str] = Field(default_factory=list, description="by class index, where the data has names")
    classes: int = 0
    output: str = Field("", description="name of the output that was judged, of several")
    output_is: OutputIs = Field("", description="logits or probabilities, of a model with classes")
