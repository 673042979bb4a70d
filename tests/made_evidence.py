"""Evidence as the steps before leave it, for tests of what comes after; digests are made up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litemill.artifacts.files import write_manifest
from litemill.artifacts.layout import EVALUATION, MEASUREMENT, SAMPLES, TFLITE, VARIANT
from litemill.evidence.base import Estimate, TensorInfo
from litemill.evidence.graph import GraphReport, LayerProof, WeightInfo
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.sources import StepRecord
from litemill.evidence.variant import VariantManifest, VariantParity

SAMPLES_TESTED = 10_000
BASELINE_ACCURACY = 0.9191


@dataclass(frozen=True)
class Made:
    """A recipe to make evidence of."""

    recipe: str
    steps: tuple[str, ...]
    accuracy: float = 0.0
    half_width: float = 0.0015
    size: int = 0
    gzip: int = 0
    sparsity: float = 0.0
    p50: float = 0.0
    ratio: float = 1.0
    reason: str = ""

    @property
    def tflite(self) -> bytes:
        """Stands for the flatbuffer: as long as the recipe says."""
        return (self.recipe.encode() * (self.size // len(self.recipe) + 1))[: self.size]


FASHION = (
    Made("float32", ("float32",), 0.9191, 0.0, 318_296, 292_019, 0.0, 0.302, 1.0),
    Made("float16", ("float16",), 0.9190, 0.0004, 166_304, 147_663, 0.0, 0.303, 1.0),
    Made("dynamic", ("dynamic",), 0.9188, 0.0009, 94_600, 81_621, 0.01, 0.410, 1.36),
    Made("int8", ("int8",), 0.9184, 0.0015, 95_576, 78_765, 0.01, 0.368, 1.22),
    Made("int16x8", ("int16x8",), 0.9190, 0.0008, 100_640, 82_151, 0.01, 9.03, 29.9),
    Made("pruned-int8", ("prune", "int8"), 0.9170, 0.0024, 95_576, 56_100, 0.5, 0.369, 1.22),
    Made("clustered-int8", ("cluster", "int8"), 0.9052, 0.0031, 95_576, 58_300, 0.02, 0.371, 1.23),
    Made("pcqat", ("prune", "cluster", "qat", "int8"), 0.9200, 0.0022, 97_200, 47_300, 0.5, 0.372, 1.23),
    Made("qat-int8", ("qat", "int8"), reason="layer 'rescaling' (Rescaling) cannot be quantized during training"),
)


def sha256(text: str | bytes) -> str:
    """A digest that is the same each time."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def write_bundle(folder: Path, recipes: tuple[Made, ...] = FASHION, target: str = "host") -> tuple[Path, Path, Path]:
    """Write what convert, evaluate and benchmark leave.

    Returns:
        The folders of the variants, of the evaluations and of the measurements.
    """
    variants, evaluations, measurements = folder / "variants", folder / "evaluation", folder / "measurement"
    for made in recipes:
        write_manifest(variants / made.recipe / VARIANT, _variant(made))
        write_manifest(evaluations / made.recipe / EVALUATION, _evaluation(made))
        write_manifest(measurements / made.recipe / MEASUREMENT, measurement(made, target))
        if not made.reason:
            (variants / made.recipe / TFLITE).write_bytes(made.tflite)
            outcome = np.arange(SAMPLES_TESTED) < made.accuracy * SAMPLES_TESTED
            np.savez_compressed(
                evaluations / made.recipe / SAMPLES, outcome=outcome, prediction=outcome.astype(np.int64)
            )
    return variants, evaluations, measurements


def _variant(made: Made) -> VariantManifest:
    manifest = VariantManifest(
        recipe=made.recipe,
        steps=list(made.steps),
        scheme=made.steps[-1],
        options={"io": "int8", "per_channel": True} if made.steps[-1] == "int8" else {},
        model_sha256=sha256("model"),
        data_sha256=sha256("calibration"),
        calibration_samples=256,
        train_steps=[
            StepRecord(step=step, options=_options(step), measured=_trained(step), seconds=41.5)
            for step in made.steps[:-1]
        ],
        versions={"tensorflow": "2.21.0", "litemill": "0.1.0"},
        seed=7,
    )
    if made.reason:
        return manifest.model_copy(update={"status": "failed", "reason": made.reason})
    return manifest.model_copy(
        update={
            "sha256": sha256(made.tflite),
            "size_bytes": made.size,
            "gzip_bytes": made.gzip,
            "zstd_bytes": made.gzip - 900,
            "graph": _graph(made),
            "proof": _proof(made),
            "parity": [
                VariantParity(
                    kernels=kernels, against="keras", samples=128, agreement=0.984, max_error=0.0329, mean_error=0.0012
                )
                for kernels in ("xnnpack", "reference")
            ],
            "seconds": 2.5,
        }
    )


def _options(step: str) -> dict[str, float]:
    return {"prune": {"sparsity": 0.5}, "cluster": {"clusters": 16.0}}.get(step, {})


def _trained(step: str) -> dict[str, object]:
    return {"method": step, "left_alone": {"stem": "first convolution"}, "training": {"loss": [0.71234, 0.4]}}


def _proof(made: Made) -> list[LayerProof]:
    if "prune" not in made.steps:
        return []
    proved = LayerProof(
        layer="block1_conv",
        tensor="conv2d/kernel",
        shape=[16, 3, 3, 16],
        dtype="int8",
        sparsity=made.sparsity,
        distinct=79,
        distinct_in_channel=15,
    )
    return [proved, proved.model_copy(update={"layer": "block2_conv", "pattern_breaks": 0})]


def _graph(made: Made) -> GraphReport:
    dtype = "float32" if "float" in made.recipe else "int8"
    return GraphReport(
        ops={"CONV_2D": 9, "ADD": 3, "AVERAGE_POOL_2D": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1},
        ops_before={"Conv2D": 9, "FusedBatchNormV3": 7, "BiasAdd": 10, "Relu": 7, "AddV2": 3, "MatMul": 1, "Mean": 1},
        folded={"batch_norm": 7, "bias": 10, "activation": 7},
        fused_activations={"RELU": 7},
        inputs=[TensorInfo(name="serving_default_image:0", shape=[1, 28, 28, 1], dtype=dtype)],
        outputs=[TensorInfo(name="StatefulPartitionedCall:0", shape=[1, 10], dtype=dtype)],
        weights=[
            WeightInfo(
                name="conv2d/kernel",
                op="CONV_2D",
                shape=[16, 3, 3, 16],
                dtype=dtype,
                sparsity=made.sparsity,
                distinct=79,
                bytes=2304,
            )
        ],
        sparsity=made.sparsity,
    )


def _evaluation(made: Made) -> Evaluation:
    if made.reason:
        return Evaluation(recipe=made.recipe, status="failed", reason=made.reason)
    drop = BASELINE_ACCURACY - made.accuracy
    return Evaluation(
        recipe=made.recipe,
        sha256=sha256(made.tflite),
        data_sha256=sha256("test"),
        samples=SAMPLES_TESTED,
        value=made.accuracy,
        drop=Estimate(value=drop, ci=(drop - made.half_width, drop + made.half_width)),
        agreement=0.991,
        per_class=[made.accuracy] * 10,
        confusion=[[950 if row == column else 5 for column in range(10)] for row in range(10)],
    )


def measurement(made: Made, target: str = "host") -> Measurement:
    """A measurement on a target, or the reason there is none."""
    if made.reason:
        return Measurement(recipe=made.recipe, target=target, status="failed", reason=made.reason)
    return Measurement(
        recipe=made.recipe,
        target=target,
        sha256=sha256(made.tflite),
        requested_accelerator="cpu",
        actual_accelerator="cpu",
        runs=2_000,
        latency_ms={"p50": made.p50, "p90": made.p50 * 1.1},
        latency_ci_ms={"p50": (made.p50 * 0.99, made.p50 * 1.01)},
        init_ms=4.2,
        first_inference_ms=made.p50 * 3,
        ratio_to_float32=Estimate(value=made.ratio, ci=(made.ratio * 0.99, made.ratio * 1.01)),
        peak_memory_bytes=53_000_000,
        realised_bytes=made.size,
        device={"cpu": "x86_64", "threads": 1, "versions": {"ai-edge-litert": "2.3.0"}},
    )
