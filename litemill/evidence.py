"""What was found out: manifests and evidence as data, the contract between steps (JSON in and out).

Fields are added, never renamed: files written by an older version stay readable.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "failed"]
Verdict = Literal["pass", "fail", "inconclusive"]


class Evidence(BaseModel):
    """Base of all evidence."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1


class Estimate(BaseModel):
    """A value with the bounds of its 95 % confidence interval, in the value's own unit."""

    value: float
    ci: tuple[float, float]


class TensorInfo(BaseModel):
    """An input or output tensor. `shape` has −1 for a dimension that is free; scale 0 means not quantized."""

    name: str
    shape: list[int]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


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
    output: str = Field("", description="name of the output that is judged, where the model has several")
    classes: int
    task: str = "classification"
    metric: str = Field("top1", description="what variants are judged by, or package.module:function")
    class_names: list[str] = Field(default_factory=list, description="where the source has them, by class index")
    target_shape: list[int] = Field(default_factory=list, description="of one target; empty for a single number")
    preprocessing: dict[str, Any]
    seed: int
    value_range: tuple[float, float] = Field(description="smallest and largest input value of the calibration split")
    splits: dict[str, SplitInfo]
    warnings: list[str] = Field(default_factory=list)


class StepRecord(BaseModel):
    """A train-aware step that was done: what was asked, and what the weights and the training show."""

    step: str
    options: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    seconds: float = 0.0


class ModelManifest(Evidence):
    """`model.json`: a source or compressed model. A failed step leaves `status` failed, its reason and no model."""

    status: Status = "ok"
    reason: str = ""
    origin: str
    resolved: str = Field("", description="what an origin that may move, such as models:/name@alias, was then")
    origin_sha256: str
    sha256: str = Field("", description="of the SavedModel's graph and weights")
    data_sha256: str = Field("", description="of the train split a compressed model was trained on")
    inputs: list[TensorInfo] = Field(default_factory=list)
    outputs: list[TensorInfo] = Field(default_factory=list)
    output: int = Field(0, description="position of the output that is judged")
    parameters: int = 0
    trainable: bool = Field(True, description="false: there is only a graph, for post-training recipes")
    notes: list[str] = Field(default_factory=list, description="what was rewritten to bring the model in, and why")
    steps: list[StepRecord] = Field(default_factory=list)

    @property
    def judged(self) -> str:
        """Name of the output that is judged, where there are several; else empty."""
        return self.outputs[self.output].name if len(self.outputs) > 1 else ""


class WeightInfo(BaseModel):
    """A constant tensor as it stands in the `.tflite`."""

    name: str
    op: str = Field(description="type of the op that reads it")
    shape: list[int]
    dtype: str
    sparsity: float = Field(description="fraction of elements that are zero (equal to the zero point where quantized)")
    distinct: int = Field(description="number of distinct stored values")
    bytes: int = Field(0, description="of its buffer, which others may share")


class LayerProof(BaseModel):
    """A layer that a train-aware step compressed, as it stands in the `.tflite`."""

    layer: str = Field(description="name in the Keras model")
    tensor: str = Field(description="name in the file")
    shape: list[int]
    dtype: str
    sparsity: float
    distinct: int = Field(description="distinct stored values in the whole tensor")
    distinct_in_channel: int = Field(description="most distinct stored values in one output channel")
    pattern_breaks: int | None = Field(None, description="groups that break the N:M pattern, where one was asked for")


class Delegation(BaseModel):
    """Which ops an accelerator takes, and why not the others."""

    kind: str = Field(description="observed on this host, or predicted by rules")
    source: str = Field(description="what says so")
    ops_fraction: float
    macs_fraction: float | None = None
    partitions: int | None = Field(None, description="pieces the graph is cut into")
    left: dict[str, str] = Field(default_factory=dict, description="position and type of an op left out, and why")


class GraphReport(BaseModel):
    """What the flatbuffer holds."""

    ops: dict[str, int] = Field(description="number of ops by type")
    fused_activations: dict[str, int] = Field(default_factory=dict)
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    weights: list[WeightInfo] = Field(default_factory=list)
    sparsity: float = Field(description="fraction of zeros over all weights of two or more dimensions")
    ops_before: dict[str, int] = Field(
        default_factory=dict, description="ops by type of the frozen TensorFlow graph, before fusion; ours only"
    )
    folded: dict[str, int] = Field(
        default_factory=dict,
        description="batch_norm, bias and activation ops of that graph which became part of another op; ours only",
    )
    biases: int = Field(0, description="ops that add a bias of their own")
    macs: int = Field(0, description="multiply-accumulates of one inference")
    macs_by_op: dict[str, int] = Field(default_factory=dict)
    conversions: int = Field(0, description="QUANTIZE and DEQUANTIZE ops on activations left over")
    float_ops: dict[str, int] = Field(default_factory=dict, description="ops that write a float tensor, by type")
    sections: dict[str, int] = Field(default_factory=dict, description="bytes by section of the file, as converted")
    delegation: dict[str, Delegation] = Field(default_factory=dict, description="by accelerator")


class LayerSensitivity(BaseModel):
    """What quantizing one layer alone does to the model's outputs on the calibration samples."""

    name: str = Field(description="of the layer's output tensor")
    op: str
    sqnr_db: float = Field(description="power of the float outputs over that of their change, in dB; low is sensitive")
    kept_float: bool = Field(False, description="whether the variant leaves it in float")


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

    recipe: str
    steps: list[str]
    scheme: str
    options: dict[str, Any] = Field(default_factory=dict)
    status: Status = "ok"
    reason: str = ""
    model_sha256: str = ""
    data_sha256: str = Field("", description="of the calibration split; empty where the scheme needs none")
    calibration_samples: int = 0
    output: str = Field("", description="name of the output that is judged, where the model has several")
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
    parity: list[VariantParity] = Field(
        default_factory=list, description="outputs against the Keras model and float32, by kernel set"
    )
    sensitivity: list[LayerSensitivity] = Field(default_factory=list, description="worst layer first")
    calibration: CalibrationReport | None = Field(None, description="of the schemes that calibrate")
    seconds: float = 0.0


class Evaluation(Evidence):
    """`evaluation.json`; the outcome for each test sample is in `samples.npz` beside it (`outcome`, `prediction`)."""

    recipe: str
    status: Status = "ok"
    reason: str = ""
    sha256: str = Field("", description="of the .tflite that was evaluated")
    data_sha256: str = ""
    metric: str = "top1"
    higher_is_better: bool = True
    kernels: str = Field("xnnpack", description="kernel set the outputs come from")
    samples: int = 0
    value: float = 0.0
    drop: Estimate | None = Field(None, description="loss against the baseline on the same samples; positive is worse")
    agreement: float | None = Field(None, description="fraction of samples with the baseline's prediction")
    per_class: list[float] = Field(default_factory=list)
    confusion: list[list[int]] = Field(default_factory=list, description="rows true, columns predicted")


class Parity(BaseModel):
    """Outputs on a target against the reference for its kernel set, on the same real samples."""

    reference: str
    samples: int
    max_error: float = Field(description="largest absolute difference relative to the spread of the reference outputs")
    agreement: float = Field(description="fraction of samples with the same largest output")
    ok: bool


class Measurement(Evidence):
    """`measurement.json`: one variant on one target."""

    recipe: str
    target: str
    status: Status = "ok"
    reason: str = ""
    kind: Literal["measured", "estimated", "emulated"] = "measured"
    sha256: str = ""
    requested_accelerator: str = ""
    actual_accelerator: str = ""
    delegated_fraction: float | None = Field(None, description="share of ops the accelerator took")
    runs: int = 0
    latency_ms: dict[str, float] = Field(default_factory=dict, description="p50, p90 and, with 2,000 samples, p99")
    latency_ci_ms: dict[str, tuple[float, float]] = Field(default_factory=dict)
    init_ms: float | None = None
    first_inference_ms: float | None = None
    ratio_to_float32: Estimate | None = Field(None, description="p50 over the interleaved float32 baseline's p50")
    comparison: str = Field("", description="faster, slower or no difference shown, against float32")
    peak_memory_bytes: int | None = None
    arena_bytes: int | None = None
    realised_bytes: int | None = Field(None, description="the size the target stores")
    parity: Parity | None = None
    device: dict[str, Any] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict, description="what only this kind of target reports")
