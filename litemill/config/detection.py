"""The section `data.detection` of a run config: what the numbers in a detector's outputs are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from litemill.config.base import Section
from litemill.tasks.boxes import CORNERS, MOST_DETECTIONS, Activation, BoxLayout, Format, Suppression
from litemill.tasks.joined import JOIN

LARGEST_COLUMN = 100_000
Column = Annotated[int, Field(ge=0, le=LARGEST_COLUMN)]


class Detection(Section):
    """Where a detector's boxes, scores and classes are, and how boxes become detections.

    Each part is named by its columns in the one output that is judged, or is an output of its own, by name.
    """

    boxes: str | list[Column] = Field(
        default_factory=lambda: list(range(CORNERS)), description="four columns, or an output's name"
    )
    scores: str | list[Column] = Field(
        default_factory=list,
        description="columns, one for each class, or an output's name; by default all others",
    )
    objectness: str | Column | None = Field(
        None, description="column, or an output's name, of the score that there is an object at all"
    )
    classes: str | Column | None = Field(
        None, description="column, or an output's name, of the class; without it each class has a score of its own"
    )
    format: Format = Field("xyxy", description="two corners, or the centre and the size")
    scale: float | list[float] = Field(
        1.0, description="factor, or those of x and y, that bring boxes to the unit of the targets"
    )
    activation: Activation = Field("none", description="what makes probabilities of the scores, outside the model")
    background: bool = Field(False, description="whether the first score is that of no object")
    rows_last: bool = Field(False, description="the output is [columns, boxes] instead of [boxes, columns]")
    nms: Suppression = Field(
        "class", description="a box suppresses neighbours of its class or all; graph: the model has done so"
    )
    iou: float = Field(0.5, gt=0, le=1, description="overlap from which on a box is suppressed")
    min_score: float = Field(0.01, ge=0, lt=1, description="least score of a detection")
    most: int = Field(MOST_DETECTIONS, ge=1, le=1000, description="detections of a sample that are judged")

    @model_validator(mode="after")
    def _parts_fit(self) -> Detection:
        named = [part for part in self._parts if isinstance(part, str)]
        if named and len(named) != len(self._parts):
            if isinstance(self.scores, list) and not self.scores:
                raise ValueError("scores is missing: name the output that holds them, as boxes does")
            raise ValueError("names outputs and columns: give the output's name for each part, or its columns")
        if len(set(named)) != len(named):
            raise ValueError(f"names the output {named[0]!r} twice: give the columns of an output with several parts")
        for name in named:
            if not name or JOIN in name:
                raise ValueError(f"{name!r} is not the name of an output")
        if isinstance(self.boxes, list) and len(self.boxes) != CORNERS:
            raise ValueError(f"boxes: a box has {CORNERS} columns, not {len(self.boxes)}")
        columns = [one for part in self._parts if not isinstance(part, str) for one in _columns(part)]
        if len(set(columns)) != len(columns):
            raise ValueError("names a column twice")
        if named and self.rows_last:
            raise ValueError("rows_last is for one output whose columns are named")
        factors = self.scale if isinstance(self.scale, list) else [self.scale]
        if len(factors) not in (1, 2) or not all(factor > 0 for factor in factors):
            raise ValueError("scale: give a factor above 0, or those of x and y, such as [320, 240]")
        return self

    @property
    def _parts(self) -> list[str | int | list[int]]:
        """Boxes, objectness, classes and scores, those that there are, in the order in which outputs are joined."""
        given = [self.boxes, self.objectness, self.classes, self.scores]
        return [part for part in given if part is not None]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs that hold a part each; none where there is one output with columns."""
        return [part for part in self._parts if isinstance(part, str)]

    @property
    def layout(self) -> BoxLayout:
        """What the columns are, those of several outputs side by side."""
        width = CORNERS - 1
        objectness, classes = -1, -1
        if self.outputs:
            objectness = width + 1 if self.objectness is not None else -1
            classes = width + 1 + (objectness > 0) if self.classes is not None else -1
        else:
            objectness = self.objectness if isinstance(self.objectness, int) else -1
            classes = self.classes if isinstance(self.classes, int) else -1
        x, y = self.scale if isinstance(self.scale, list) and len(self.scale) > 1 else (_one(self.scale),) * 2
        return BoxLayout(
            boxes=tuple(self.boxes) if isinstance(self.boxes, list) else tuple(range(CORNERS)),
            scores=tuple(self.scores) if isinstance(self.scores, list) else (),
            objectness=objectness,
            classes=classes,
            format=self.format,
            scale=(x, y),
            activation=self.activation,
            background=self.background,
            rows_last=self.rows_last,
            suppression=self.nms,
            overlap=self.iou,
            least_score=self.min_score,
            most=self.most,
        )


def _columns(part: str | int | list[int]) -> list[int]:
    return part if isinstance(part, list) else [part] if isinstance(part, int) else []


def _one(scale: float | list[float]) -> float:
    return scale[0] if isinstance(scale, list) else scale
