"""What stands in a `.tflite`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from litemill.evidence.base import TensorInfo


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
