"""What the train-aware steps promised is read back from the converted file, and a broken promise fails the recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import MODEL, TFLITE, VARIANT
from litemill.convert.bundle import convert_bundle
from litemill.convert.promises import collect_promises, prove
from litemill.evidence.graph import LayerProof
from litemill.evidence.sources import ModelManifest, StepRecord
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer.pattern import pattern_breaks

Step = Callable[[str], Path]
BIG = "conv2d_2"

SLOW = [pytest.param(name, marks=pytest.mark.e2e) for name in ("prune", "cluster", "prune-qat", "cluster-qat")]
NAMES = ["prune24", "prune-cluster", "prune-cluster-qat", *SLOW]


@pytest.fixture(scope="module")
def converted(step: Step, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The variant of a combination of steps in a scheme."""
    made: dict[tuple[str, str], Path] = {}

    def convert(name: str, scheme: str) -> Path:
        if (name, scheme) not in made:
            schemes = ["int8", "float32", "float16", "dynamic"] if name == "prune-cluster" else ["int8"]
            out = tmp_path_factory.mktemp("bundle") / "out"
            recipes = {one: [{"name": one}] for one in schemes}
            for manifest in convert_bundle(step(name), recipes, out, dataset=digits_dataset):
                made[name, manifest.scheme] = out / manifest.scheme
        return made[name, scheme]

    return convert


def manifest_of(variant: Path) -> VariantManifest:
    return read_manifest(variant / VARIANT, VariantManifest)


def proof_of(variant: Path) -> LayerProof:
    manifest = manifest_of(variant)
    assert manifest.status == "ok", manifest.reason
    assert [proof.layer for proof in manifest.proof] == [BIG]
    return manifest.proof[0]


@pytest.mark.parametrize("name", NAMES)
def test_int8_keeps_what_was_trained(name: str, converted: Callable[[str, str], Path]) -> None:
    proof = proof_of(converted(name, "int8"))
    assert (proof.dtype, proof.shape) == ("int8", [32, 3, 3, 16])
    if "prune" in name:
        assert proof.sparsity >= 0.48
    if "cluster" in name:
        assert proof.distinct_in_channel <= 16 < proof.distinct
    assert proof.pattern_breaks == (0 if "24" in name else None)


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic"])
def test_other_schemes_keep_it_too(scheme: str, converted: Callable[[str, str], Path]) -> None:
    proof = proof_of(converted("prune-cluster", scheme))
    assert proof.sparsity >= 0.48
    assert proof.distinct_in_channel <= 16


def test_compression_shows_in_the_size_that_travels(converted: Callable[[str, str], Path]) -> None:
    """The raw size never changes; gzip and zstd do."""
    pruned, both = (manifest_of(converted(name, "int8")) for name in ("prune24", "prune-cluster"))
    assert abs(pruned.size_bytes - both.size_bytes) < 64
    assert both.gzip_bytes < pruned.gzip_bytes
    assert both.zstd_bytes < pruned.zstd_bytes


def test_plain_qat_after_pruning_would_lose_the_zeros(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    """A model that promises zeros and has none: the conversion fails with the layer's name and both numbers."""
    shutil.copytree(step("qat"), tmp_path / "model")
    manifest = read_manifest(step("prune") / MODEL, ModelManifest)
    write_manifest(tmp_path / "model" / MODEL, manifest)
    recipes = {"pqat": [{"name": "prune"}, {"name": "qat"}, {"name": "int8"}]}
    (found,) = convert_bundle(tmp_path / "model", recipes, tmp_path / "out", dataset=digits_dataset)
    assert found.status == "failed"
    assert found.reason.startswith("the file does not keep what was trained: layer conv2d_2: sparsity 0.0")
    assert "in the file, 0.500 after pruning" in found.reason
    assert not (tmp_path / "out" / "pqat" / TFLITE).exists()


def record(step: str, measured: dict[str, Any], **options: Any) -> StepRecord:
    layers = {BIG: {"type": "Conv2D", "shape": [3, 3, 16, 32], "sparsity": 0.5} | measured.pop("layer", {})}
    return StepRecord(step=step, options=options, measured={"layers": layers, **measured})


def test_each_broken_promise_is_told(converted: Callable[[str, str], Path]) -> None:
    file = converted("prune-cluster", "float32") / TFLITE
    found, broken = prove(file, [record("prune", {"layer": {"sparsity": 0.9}}, m_by_n=[2, 4])])
    groups = found[0].pattern_breaks
    assert groups
    assert broken == [
        f"layer conv2d_2: sparsity {found[0].sparsity:.3f} in the file, 0.900 after pruning",
        f"layer conv2d_2: {groups} groups in the file break the pattern 2:4",
    ]
    (shared,) = prove(file, [record("cluster", {"clusters": 4})])[1]
    assert shared.endswith("distinct weights in a channel of the file, 4 after clustering")
    _, missing = prove(file, [record("prune", {"layer": {"shape": [5, 5, 16, 32]}})])
    assert missing == ["layer conv2d_2: no weight of its shape [5, 5, 16, 32] is in the file"]
    assert prove(file, []) == ([], [])


def test_promises_of_several_steps_add_up() -> None:
    (promise,) = collect_promises([record("prune", {}, m_by_n=[2, 4]), record("cluster", {"clusters": 8})])
    assert (promise.sparsity, promise.clusters, promise.m_by_n) == (0.5, 8, (2, 4))


def test_pattern_breaks_are_counted_group_by_group() -> None:
    kernel = np.array([[0, 0, 3, 4], [0, 2, 3, 4], [0, 0, 0, 4], [1, 2, 3, 4]], np.float32)
    assert pattern_breaks(kernel, (2, 4), axis=-1) == 2
    assert pattern_breaks(kernel.T, (2, 4)) == 2
    assert pattern_breaks(np.diag([1, 1, 1, 1]), (2, 4)) == 0
    assert pattern_breaks(kernel[:3], (2, 4)) > 0
