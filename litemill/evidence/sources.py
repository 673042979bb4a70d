"""What a run starts from: the prepared data, and the model with the steps it went through."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, Field

from litemill.evidence.base import Evidence, Status, TensorInfo
from litemill.evidence.training import StepFindings
from litemill.tasks import BoxLayout, OutputIs, Reading
from litemill.tasks.joined import JOIN

Findings = TypeVar("Findings", bound=StepFindings)


class SplitInfo(BaseModel):
    """One split of a data set on disk; sha256 of its `x.npy` and `y.npy`."""

    samples: int
    x_sha256: str
    y_sha256: str
    class_counts: list[int] = Field(default_factory=list)


class DatasetManifest(Evidence):
    """`dataset.json`: where the samples came from and what was done to them."""

    kind: str
    uri: str
    source_sha256: str
    input_shape: list[int]
    dtype: str
    inputs: dict[str, list[int]] = Field(
        default_factory=dict, description="shape of a sample by input, of several; input_shape is empty then"
    )
    dtypes: dict[str, str] = Field(
        default_factory=dict, description="of inputs that are not float32, by name, of several; one input has dtype"
    )
    output: str = Field("", description="name of the output that is judged, where the model has several")
    output_is: OutputIs = Field("", description="logits or probabilities, where the config says it")
    classes: int
    task: str = "classification"
    metric: str = Field("top1", description="what variants are judged by, or package.module:function")
    class_names: list[str] = Field(default_factory=list, description="where the source has them, by class index")
    target_shape: list[int] = Field(default_factory=list, description="of one target; empty for a single number")
    boxes: BoxLayout | None = Field(None, description="what the columns of a detector's outputs are")
    preprocessing: dict[str, Any]
    seed: int
    value_range: tuple[float, float] = Field(description="smallest and largest input value of the calibration split")
    splits: dict[str, SplitInfo]
    versions: dict[str, str] = Field(default_factory=dict, description="of the package that brought the kind of source")
    warnings: list[str] = Field(default_factory=list)

    def reading(self, output_is: OutputIs = "") -> Reading:
        """How outputs are read beside these targets, of a model whose outputs are logits or probabilities."""
        return Reading(
            classes=self.classes,
            output_is=self.output_is or output_is,
            target_shape=tuple(self.target_shape),
            input_shape=tuple(self.input_shape),
            metric=self.metric,
            boxes=self.boxes,
        )


class StepRecord(BaseModel):
    """A train-aware step that was done: what was asked, and what the weights and the training show."""

    step: str
    options: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    seconds: float = 0.0

    def found(self, kind: type[Findings]) -> Findings:
        """What the step measured, typed.

        Args:
            kind: Of the step's findings, such as `PruneFindings`.
        """
        return kind.model_validate(self.measured)


class RebuildReport(Evidence):
    """The layers that were rebuilt from a `.tflite`, and the proof that they compute what it does."""

    sha256: str = Field(description="of the Keras model's configuration and weights")
    layers: int
    error: dict[str, float] = Field(
        description="by output the largest difference on real samples, in standard deviations of the file's output"
    )
    batch_norm: list[str] = Field(
        default_factory=list, description="layers that were put back where they had been folded into weights"
    )
    ops: dict[str, tuple[int, int]] = Field(
        default_factory=dict, description="ops by type of which the model, converted again, has another number"
    )
    notes: list[str] = Field(default_factory=list)


class ModelManifest(Evidence):
    """`model.json`: a source or compressed model. A failed step leaves `status` failed, its reason and no model."""

    status: Status = "ok"
    reason: str = ""
    passes: bool = Field(False, description="it failed for want of memory, time or a device, and is tried again")
    origin: str
    resolved: str = Field("", description="what an origin that may move, such as models:/name@alias, was then")
    origin_sha256: str
    sha256: str = Field("", description="of the SavedModel's graph and weights")
    data_sha256: str = Field("", description="of the train split a compressed model was trained on")
    inputs: list[TensorInfo] = Field(default_factory=list)
    outputs: list[TensorInfo] = Field(default_factory=list)
    output: int = Field(0, description="position of the output that is judged")
    joined: list[int] = Field(default_factory=list, description="positions of further outputs that are judged with it")
    output_is: OutputIs = Field("", description="logits or probabilities, of a model with classes")
    parameters: int = 0
    trainable: bool = Field(True, description="false: there is only a graph, for post-training recipes")
    notes: list[str] = Field(default_factory=list, description="what was rewritten to bring the model in, and why")
    steps: list[StepRecord] = Field(default_factory=list)
    rebuilt: RebuildReport | None = Field(None, description="what was rebuilt, of a .tflite with layers to train")

    @property
    def judged(self) -> str:
        """Name of the output that is judged, where there are several; else empty. Names are joined with +."""
        return JOIN.join(self.outputs[one].name for one in self.positions) if len(self.outputs) > 1 else ""

    @property
    def judged_names(self) -> list[str]:
        """Names of all outputs that are judged; that of the only one too."""
        return [self.outputs[one].name for one in self.positions if one < len(self.outputs)]

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of all outputs that are judged."""
        return (self.output, *self.joined)
