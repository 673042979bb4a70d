"""A `.tflite` that a recipe produced, and what is known of it before it is run on a device."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from litemill.evidence.base import Estimate, Evidence, Status
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.graph import GraphReport, LayerProof
from litemill.evidence.lut import LutReport
from litemill.evidence.sources import StepRecord
from litemill.tasks import OutputIs


class LayerSensitivity(BaseModel):
    """What quantizing one layer alone does to the model's outputs on the calibration samples."""

    name: str = Field(description="of the layer's output tensor")
    op: str
    sqnr_db: float = Field(description="power of the float outputs over that of their change, in dB; low is sensitive")
    kept_float: bool = Field(False, description="whether the variant leaves it in float")
    position: int | None = Field(None, description="of its op in the file, from 0, where that has it under this name")


class VariantParity(BaseModel):
    """A variant's outputs against those of what it was made from, on real test samples, with one set of kernels."""

    kernels: str = Field(description="xnnpack, or reference: those of a microcontroller")
    against: Literal["keras", "float32"] = Field(
        description="the Keras model, or its float conversion on those kernels"
    )
    samples: int
    agreement: float | None = Field(None, description="fraction of samples with the same predicted class")
    max_error: float = Field(description="largest absolute difference relative to the spread of the expected outputs")
    mean_error: float = Field(description="mean absolute difference relative to the same")


class CalibrationReport(BaseModel):
    """The samples that set a variant's ranges beside the training data, and how well the outcome follows float32."""

    samples: int
    value_range: tuple[float, float] = Field(description="smallest and largest value of the calibration samples")
    train_range: tuple[float, float] | None = Field(None, description="the same of the training samples looked at")
    clipped: float | None = Field(
        None,
        description="mean square of what training values exceed the calibrated range by, over their variance",
    )
    distance: dict[str, float] = Field(
        default_factory=dict, description="Kolmogorov-Smirnov distance to the training samples, by property of a sample"
    )
    checked_samples: int = Field(0, description="training samples on which the variant was compared with float32")
    agreement: float | None = Field(None, description="fraction of them with the prediction of float32")
    kappa: Estimate | None = Field(None, description="Cohen's kappa of the two: agreement beyond chance; 1 is all")
    sqnr_db: float | None = Field(None, description="power of the float outputs over that of their change, in dB")
    worst_column: int | None = Field(
        None, description="of outputs whose columns mean different things, the one that follows float32 least"
    )
    worst_column_db: float | None = Field(None, description="its signal over its noise, in dB")
    output_size: int = Field(0, description="numbers in the judged output of a sample")
    warnings: list[str] = Field(default_factory=list)


class SlimReport(BaseModel):
    """What the lossless last step did to a `.tflite`, and the proof that it changed nothing else."""

    applied: bool = Field(description="whether the smaller file replaced the original")
    reason: str = Field("", description="why the original stayed")
    before_bytes: int = 0
    after_bytes: int = 0
    before: dict[str, int] = Field(default_factory=dict, description="bytes by section of the file")
    after: dict[str, int] = Field(default_factory=dict)
    checks: dict[str, str] = Field(default_factory=dict, description="what was compared, and the outcome")


class VariantManifest(Evidence):
    """`variant.json`: a `.tflite` and where it came from, or the reason there is none."""

    columns: ClassVar[tuple[str, ...]] = ("steps", "status", "reason", "size_bytes", "gzip_bytes", "sha256", "seconds")

    recipe: str
    champion: ChampionVersion | None = Field(None, description="which version of the registry it is, of a champion")
    steps: list[str]
    scheme: str
    options: dict[str, Any] = Field(default_factory=dict)
    status: Status = "ok"
    reason: str = ""
    passes: bool = Field(False, description="it failed for want of memory, time or a device, and is tried again")
    model_sha256: str = ""
    data_sha256: str = Field("", description="of the calibration split; empty where the scheme needs none")
    calibration_samples: int = 0
    output: str = Field("", description="name of the output that is judged, where the model has several")
    output_is: OutputIs = Field("", description="logits or probabilities, of a model with classes")
    train_steps: list[StepRecord] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    seed: int = 0
    sha256: str = ""
    size_bytes: int = 0
    gzip_bytes: int = 0
    zstd_bytes: int = 0
    canonical_sha256: str = Field("", description="of what the file computes: without names, metadata and layout")
    graph: GraphReport | None = None
    proof: list[LayerProof] = Field(
        default_factory=list, description="what the train-aware steps promised, read back from the file"
    )
    slim: SlimReport | None = None
    lut: LutReport | None = Field(
        None, description="of the file for microcontrollers beside it, where one was asked for"
    )
    parity: list[VariantParity] = Field(
        default_factory=list, description="outputs against the Keras model and float32, by kernel set"
    )
    sensitivity: list[LayerSensitivity] = Field(default_factory=list, description="worst layer first")
    calibration: CalibrationReport | None = Field(None, description="of the schemes that calibrate")
    seconds: float = 0.0
