"""A job of the process that converts: typed, so that what is sent is what is read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from litemill.tasks import BoxLayout, Decisions, OutputIs, decisions


class CalibrationJob(BaseModel):
    """The samples that calibrate a recipe and those that its outcome is compared on; empty where there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibration: str = Field("", description="the calibration split's `x.npy`")
    train: str = Field("", description="the train split's folder: the outcome is compared on samples of it")
    test: str = Field("", description="`x.npy` of the samples on which outputs are compared with the model's")
    task: str = Field("", description="of the data")
    boxes: BoxLayout | None = Field(None, description="what the columns of a detector's outputs are")
    fewest: int = Field(1, description="calibration samples that there must be")


class ConvertJob(CalibrationJob):
    """One variant to convert."""

    name: str
    scheme: str
    options: dict[str, Any] = Field(default_factory=dict)
    saved_model: str = ""
    keras: str = Field("", description="the same model as a Keras archive, where there is one")
    tflite: str = Field("", description="the source in place of the SavedModel; then TensorFlow is not imported")
    static_model: str = Field("", description="where the copy with batch 1 goes, shared by the jobs of a model")
    inputs: dict[str, list[int]] = Field(description="shapes by name, of the only input under the empty name")
    dtypes: dict[str, str] = Field(default_factory=dict, description="types of the inputs, named likewise")
    output: str = Field("", description="name of the output that is judged, or of several; empty where there is one")
    output_is: OutputIs = Field("", description="logits, probabilities, or empty")
    others: list[str] = Field(default_factory=list, description="names of the outputs that are not judged")
    seed: int = 0
    out: str = Field(description="the `.tflite` to write")
    findings: str = Field(description="the JSON file for what only that process can find out")

    @property
    def decisions(self) -> Decisions | None:
        """What reads decisions out of the outputs."""
        return decisions(self.task, self.output_is, self.boxes)
