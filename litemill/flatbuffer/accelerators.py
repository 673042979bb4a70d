"""What accelerators take, as data: op types, dtypes and shape limits, each with its source.

A prediction, not a promise: drivers differ, and a compiler may refuse a single shape. Measure on the device.
"""

from __future__ import annotations

from dataclasses import dataclass

CONVOLUTIONAL = frozenset(
    [
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "LOGISTIC",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MUL",
        "PAD",
        "PRELU",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "SLICE",
        "SOFTMAX",
        "SPLIT",
        "STRIDED_SLICE",
        "SUB",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
    ]
)
"""What all of them take."""


@dataclass(frozen=True)
class Accelerator:
    """Rules for one accelerator.

    Attributes:
        ops: Op types it has.
        dtypes: Of the tensors an op reads and writes; scalars are not looked at.
        source: Where the rules come from.
        max_rank: Most dimensions of a tensor.
        static: Whether every dimension must be fixed.
        one_partition: Whether all that stands behind the first op left out is left out too.
    """

    ops: frozenset[str]
    dtypes: frozenset[str]
    source: str
    max_rank: int = 4
    static: bool = True
    one_partition: bool = False


ACCELERATORS = {
    "gpu": Accelerator(
        ops=CONVOLUTIONAL
        | frozenset(
            [
                "ABS",
                "ADD_N",
                "BATCH_MATMUL",
                "CAST",
                "COS",
                "CUMSUM",
                "DENSIFY",
                "DEPTH_TO_SPACE",
                "DEQUANTIZE",
                "DIV",
                "ELU",
                "EQUAL",
                "EXP",
                "FLOOR",
                "FLOOR_DIV",
                "FLOOR_MOD",
                "GATHER",
                "GELU",
                "GREATER",
                "GREATER_EQUAL",
                "HARD_SWISH",
                "LEAKY_RELU",
                "LESS",
                "LESS_EQUAL",
                "LOG",
                "LOGICAL_AND",
                "LSTM",
                "MIRROR_PAD",
                "NEG",
                "NOT_EQUAL",
                "ONE_HOT",
                "PACK",
                "PADV2",
                "POW",
                "QUANTIZE",
                "REDUCE_MAX",
                "REDUCE_MIN",
                "REDUCE_PROD",
                "RELU_0_TO_1",
                "RELU_N1_TO_1",
                "RSQRT",
                "SELECT",
                "SELECT_V2",
                "SIGN",
                "SIN",
                "SPACE_TO_DEPTH",
                "SPLIT_V",
                "SQRT",
                "SQUARE",
                "SQUARED_DIFFERENCE",
                "SUM",
                "TILE",
                "UNPACK",
            ]
        ),
        dtypes=frozenset({"bool", "float16", "float32", "int8", "uint8", "int32"}),
        source="LiteRT, tflite/delegates/gpu/common/model_builder.cc, NewOperationParser: "
        "https://github.com/google-ai-edge/LiteRT/blob/main/tflite/delegates/gpu/common/model_builder.cc",
        static=False,
    ),
    "edgetpu": Accelerator(
        ops=CONVOLUTIONAL
        | frozenset(
            [
                "EXPAND_DIMS",
                "L2_NORMALIZATION",
                "PACK",
                "QUANTIZE",
                "REDUCE_MAX",
                "REDUCE_MIN",
                "RELU_N1_TO_1",
                "RSQRT",
                "SPACE_TO_DEPTH",
                "SQUEEZE",
                "SQUARED_DIFFERENCE",
                "SUM",
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
            ]
        ),
        dtypes=frozenset({"int8", "uint8", "int32"}),
        source="Coral, TensorFlow models on the Edge TPU, table 1 (edgetpu_compiler 16): "
        "https://coral.ai/docs/edgetpu/models-intro/#supported-operations",
        one_partition=True,
    ),
    "ethos-u": Accelerator(
        ops=CONVOLUTIONAL
        | frozenset(
            [
                "ABS",
                "ARG_MAX",
                "BATCH_MATMUL",
                "ELU",
                "EXP",
                "EXPAND_DIMS",
                "GELU",
                "HARD_SWISH",
                "LEAKY_RELU",
                "LOG",
                "MIRROR_PAD",
                "NEG",
                "PACK",
                "PADV2",
                "QUANTIZE",
                "REDUCE_MAX",
                "REDUCE_MIN",
                "RELU_0_TO_1",
                "RELU_N1_TO_1",
                "REVERSE_V2",
                "RSQRT",
                "SPLIT_V",
                "SQUARED_DIFFERENCE",
                "SQUEEZE",
                "SUM",
                "TILE",
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
                "UNPACK",
            ]
        ),
        dtypes=frozenset({"int8", "int16", "int32", "int64", "uint8"}),
        source="Vela 5.2, SUPPORTED_OPS.md (vela --supported-ops-report), Ethos-U55 and U65; the U85 takes more: "
        "https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela",
    ),
}
"""Rules by accelerator."""
