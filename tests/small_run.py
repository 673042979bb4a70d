"""What a run leaves, made in a second without TensorFlow: real `.tflite` files that LiteRT runs, really evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as s
from numpy.typing import NDArray

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import EVALUATION, MEASUREMENT, PROBE, SAMPLES, TFLITE, VARIANT
from litemill.evidence.base import Estimate
from litemill.evidence.interface import Interface
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.variant import VariantManifest
from litemill.runtime.runner import Runner
from tests.flatbuffer.generated import OP, Graph

LABELS = ["sun", "rain", "snow"]
SCALE = 0.5
TESTED = 200


@dataclass(frozen=True)
class Small:
    """A recipe: the seed of its weights, and how good its answers are said to be."""

    recipe: str = "int8"
    seed: int = 0
    accuracy: float = 0.9
    p50: float = 0.2
    reason: str = ""
    notes: dict[str, str] = field(default_factory=dict)


def classifier(seed: int = 0) -> bytes:
    """A `.tflite` for samples of 4×4×4 and three classes."""
    graph = Graph(np.random.default_rng(seed))
    graph.op(OP.RESHAPE, [graph.numbers([-1, 64])], s.ReshapeOptionsT(newShape=[-1, 64]), [1, 64])
    weights = graph.add([3, 64], np.random.default_rng(seed).normal(size=(3, 64)).astype(np.float32) / 4)
    graph.op(OP.FULLY_CONNECTED, [weights, -1], s.FullyConnectedOptionsT(), [1, 3])
    graph.op(OP.SOFTMAX, [], s.SoftmaxOptionsT(beta=1.0), [1, 3])
    return graph.finish()


def samples(count: int = 12) -> NDArray[np.float32]:
    """Samples as the model takes them."""
    return np.random.default_rng(7).normal(size=(count, 4, 4, 4)).astype(np.float32)


def write_small(folder: Path, *recipes: Small) -> tuple[Path, Path, Path]:
    """Write what convert, evaluate and benchmark leave.

    Returns:
        The folders of the variants, of the evaluations and of the measurements.
    """
    variants, evaluations, measurements = folder / "variants", folder / "evaluation", folder / "measurement"
    for one in recipes:
        file = variants / one.recipe / TFLITE
        file.parent.mkdir(parents=True)
        file.write_bytes(classifier(one.seed))
        digest, size = sha256_of(file), file.stat().st_size
        write_manifest(
            variants / one.recipe / VARIANT,
            VariantManifest(
                recipe=one.recipe,
                steps=["prune", "int8"],
                scheme="int8",
                model_sha256="a" * 64,
                data_sha256="c" * 64,
                sha256=digest,
                size_bytes=size,
                gzip_bytes=size - 100,
                seed=7,
                versions={"tensorflow": "2.21.0"},
            ),
        )
        right = np.arange(TESTED) < one.accuracy * TESTED
        place = evaluations / one.recipe
        drop = 0.9 - one.accuracy
        write_manifest(
            place / EVALUATION,
            Evaluation(
                recipe=one.recipe,
                sha256=digest,
                data_sha256="d" * 64,
                samples=TESTED,
                value=one.accuracy,
                drop=Estimate(value=drop, ci=(drop - 0.01, drop + 0.01)),
                per_class=[one.accuracy, one.accuracy, None],
                confusion=[[90, 5, 5], [5, 90, 5], [0, 0, 0]],
                interface=Interface(input_shape=[4, 4, 4], preprocessing={"scale": SCALE}, labels=LABELS, classes=3),
            ),
        )
        np.savez_compressed(place / SAMPLES, outcome=right, prediction=right.astype(np.int64), target=np.ones(TESTED))
        x = samples()
        np.savez_compressed(place / PROBE, x=x, y=np.zeros(len(x), np.int64), outputs=Runner(file, threads=1).run(x))
        write_manifest(
            measurements / one.recipe / MEASUREMENT,
            Measurement(
                recipe=one.recipe,
                target="host",
                sha256=digest,
                latency_ms={"p50": one.p50},
                latency_ci_ms={"p50": (one.p50, one.p50)},
                ratio_to_float32=Estimate(value=1.0, ci=(0.99, 1.01)),
            ),
        )
    return variants, evaluations, measurements
