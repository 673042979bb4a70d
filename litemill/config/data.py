"""The `data` section of a run config: where samples come from and how they become model inputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from litemill.config.base import Address, first_mistake, nearest
from litemill.config.base import Section as Section
from litemill.config.data_kinds import (
    DATA_KINDS,
    INPUT_NAME,
    REFERENCE,
    DataKind,
    KindOptions,
)
from litemill.config.detection import Detection
from litemill.errors import ConfigError, shown
from litemill.tasks import METRICS, TASKS, BoxLayout, OutputIs, metric_names
from litemill.tasks.detection import DETECTION
from litemill.tasks.joined import JOIN

LARGEST_IMAGE = 8192
"""Pixels of a side that images are brought to."""


class Preprocessing(Section):
    """What is done to the raw input, in this order; a deployed app must repeat it.

    Images: colour mode, resize, channel order. Everything: x·scale + offset, then (x − mean)/std.
    """

    color: Literal["", "rgb", "grayscale", "rgba"] = Field("", description="of decoded images; by default the model's")
    resize: list[Annotated[int, Field(gt=0, le=LARGEST_IMAGE)]] = Field(
        default_factory=list, max_length=2, description="height and width, bilinear; by default the model's"
    )
    channel_order: Literal["rgb", "bgr"] = Field("rgb", description="bgr turns the last axis around")

    scale: float = Field(1.0, description="factor on the raw values, e.g. 0.00392156862745098 (1/255) for uint8 images")
    offset: float = Field(0.0, description="added after scaling")
    mean: list[float] = Field(default_factory=list, description="subtracted, one value or one a channel")
    std: list[PositiveFloat] = Field(default_factory=list, description="divided by, one value or one a channel")

    @field_validator("resize")
    @classmethod
    def _both_sides(cls, value: list[int]) -> list[int]:
        if len(value) == 1:
            raise ValueError(f"names two sizes, height and width, such as [{value[0]}, {value[0]}]")
        return value


class Limit(Section):
    """How many samples of each split to use at most; drawn with the seed, classes kept in proportion."""

    train: PositiveInt | None = Field(None, description="samples to train with; all without it")
    calibration: PositiveInt = Field(256, description="size of the representative dataset")
    test: PositiveInt | None = Field(None, description="samples to evaluate on; all without it")


class DataSpec(Section):
    """Where samples come from and how they become model inputs."""

    kind: str = Field(description=f"the kind of source: {', '.join(DATA_KINDS.ours())}")
    uri: Address = Field("", description="path, gs:// or s3:// address; not for built-in sets such as digits")
    options: dict[str, Any] = Field(default_factory=dict, description="of the kind, see docs/models-and-data.md")
    task: str = Field("classification", description=f"what the model does with a sample: {', '.join(TASKS)}")
    metric: str = Field("", description="by default the task's own; or package.module:function")
    output: str = Field("", description="the output that is judged, by name, of a model with several")
    output_is: OutputIs = Field(
        "", description="logits or probabilities, of a model with classes; by default read from the model"
    )
    ignore_label: int | None = Field(
        None, ge=0, le=32767, description="label of pixels or time steps that are not judged, such as 255"
    )
    detection: Detection | None = Field(None, description="of task detection: what the model's outputs hold")
    preprocessing: Preprocessing = Preprocessing()
    inputs: dict[str, Preprocessing] = Field(
        default_factory=dict, description="of a model with several: each input by name, with its own preprocessing"
    )
    limit: Limit = Limit()

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        try:
            return DATA_KINDS[value].name
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _uri_fits_kind(self) -> DataSpec:
        if self.record.uri == "needed" and not self.uri:
            raise ValueError(f"data.kind {self.kind} needs data.uri: where the data is")
        if self.record.uri == "refused" and self.uri:
            raise ValueError(f"data.kind {self.kind} is {self.record.summary}: leave data.uri out")
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> DataSpec:
        try:
            self.parsed()
        except ValidationError as error:
            raise ValueError(f"data.options of kind {self.kind}: {first_mistake(error, self.record.options)}") from None
        return self

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        if value not in TASKS:
            raise ValueError(f"unknown task {shown(value)}; {nearest(value, list(TASKS))}")
        return value

    @model_validator(mode="after")
    def _metric_fits_task(self) -> DataSpec:
        if not self.metric or REFERENCE.match(self.metric):
            return self
        if self.metric not in METRICS or self.task not in METRICS[self.metric].tasks:
            close = nearest(self.metric, metric_names(self.task))
            raise ValueError(f"unknown metric {shown(self.metric)} for task {self.task}; {close}")
        return self

    @model_validator(mode="after")
    def _output_has_classes(self) -> DataSpec:
        task = TASKS[self.task]
        if self.output_is and not task.labelled:
            raise ValueError(f"data.output_is is not for task {self.task}: data.detection.activation says it")
        if self.output_is and task.decide is None:
            raise ValueError(f"data.output_is is for models with classes: task {self.task} has none")
        if self.ignore_label is not None and not TASKS[self.task].positions:
            able = ", ".join(task.name for task in TASKS.values() if task.positions)
            raise ValueError(f"data.ignore_label is for tasks with a class for each position: {able}")
        return self

    @model_validator(mode="after")
    def _detection_fits(self) -> DataSpec:
        if self.task != DETECTION.name:
            if self.detection is not None:
                raise ValueError(f"data.detection is for task detection, not {self.task}")
            return self
        section = self.detection or Detection()
        joined = JOIN.join(section.outputs)
        if joined and self.output not in ("", joined):
            raise ValueError("data.output: data.detection names the outputs already")
        object.__setattr__(self, "detection", section)
        object.__setattr__(self, "output", joined or self.output)
        return self

    @model_validator(mode="after")
    def _several_inputs_fit(self) -> DataSpec:
        if not self.inputs:
            return self
        for name in self.inputs:
            if not INPUT_NAME.match(name):
                raise ValueError(f"data.inputs: {shown(name)} is not the name of an input")
        if len(self.inputs) == 1:
            raise ValueError("data.inputs is for several inputs: give the only one's values in data.preprocessing")
        if not self.record.several_inputs:
            able = ", ".join(kind.name for kind in DATA_KINDS.records() if kind.several_inputs)
            raise ValueError(f"data.kind {self.kind} gives one input; several come from {able}")
        if not self.parsed().names_inputs(self.inputs):
            raise ValueError(f"data.options.inputs must say the feature of each input: {', '.join(self.inputs)}")
        if self.preprocessing != Preprocessing():
            raise ValueError("data.preprocessing is for one input: give each its own in data.inputs")
        if TASKS[self.task].of_input:
            raise ValueError(f"task {self.task} is for models with one input: what would the target be of several?")
        return self

    @property
    def boxes(self) -> BoxLayout | None:
        """What the columns of a detector's outputs are."""
        return self.detection.layout if self.detection else None

    @property
    def record(self) -> DataKind:
        """What is known of the kind."""
        return DATA_KINDS[self.kind]

    def parsed(self) -> KindOptions:
        """The kind's options as their typed model, defaults filled in."""
        return self.record.options.model_validate(self.options)

    def encodes_images(self) -> bool:
        """Whether samples are encoded images."""
        return self.record.images and self.parsed().encodes_images()
