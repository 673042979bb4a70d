"""Every scheme on a real small model: what comes out, what is refused, what a crash costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest, sha256_of
from litemill.artifacts.layout import MODEL, TFLITE, VARIANT
from litemill.config.schemes import SCHEMES
from litemill.config.steps import Step
from litemill.convert import bundle as bundle_module
from litemill.convert.bundle import convert_bundle
from litemill.errors import ConfigError, InputError
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer import read_graph
from litemill.flatbuffer.reader import op_name, read_model
from litemill.runtime import Runner
from tests.workshop import RECIPES, convert_here, digits, keras, workshop, write_dataset, write_model

INT8, FLOAT32 = [Step(name="int8")], [Step(name="float32")]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_scheme_converts_and_its_manifest_holds_what_the_file_holds(recipe: str) -> None:
    shop = workshop()
    manifest = read_manifest(shop.bundle / recipe / VARIANT, VariantManifest)
    assert manifest.status == "ok", manifest.reason
    assert manifest == shop.manifests[recipe]
    assert manifest.sha256 == sha256_of(shop.tflite(recipe))
    assert manifest.size_bytes == shop.tflite(recipe).stat().st_size > manifest.gzip_bytes > 0
    assert manifest.seed == 7
    assert manifest.versions["tensorflow"]
    assert (manifest.calibration_samples, bool(manifest.data_sha256)) == (
        (100, True) if SCHEMES[manifest.scheme].calibrated else (0, False)
    )


@pytest.mark.parametrize(
    ("recipe", "io", "conv_weights"),
    [
        ("float32", "float32", "float32"),
        ("float16", "float32", "float16"),
        ("int8", "int8", "int8"),
        ("int8-uint8-io", "uint8", "int8"),
        ("int8-float-io", "float32", "int8"),
        ("int16x8", "int16", "int8"),
    ],
)
def test_dtypes_are_as_asked(recipe: str, io: str, conv_weights: str) -> None:
    graph = workshop().manifests[recipe].graph
    assert graph is not None
    assert {tensor.dtype for tensor in (*graph.inputs, *graph.outputs)} == {io}
    assert (
        next(weight.dtype for weight in graph.weights if weight.op == "CONV_2D" and len(weight.shape) == 4)
        == conv_weights
    )


@pytest.mark.parametrize("recipe", ["int8", "int8-float-io", "int8-per-tensor", "mixed-int8"])
def test_a_layers_sensitivity_is_told_by_its_op_in_the_slimmed_file(recipe: str) -> None:
    model = read_model(workshop().tflite(recipe))
    layers = workshop().manifests[recipe].sensitivity
    assert len({one.position for one in layers}) == len(layers) > 2
    assert all(op_name(model, model.subgraphs[0].operators[one.position or 0]) == one.op for one in layers)


def test_deployment_files_have_batch_1_and_keep_their_signature() -> None:
    from ai_edge_litert.interpreter import Interpreter

    shop = workshop()
    for recipe, manifest in shop.manifests.items():
        assert manifest.graph is not None
        assert manifest.graph.inputs[0].shape == [1, 8, 8, 1], recipe
        signatures = Interpreter(str(shop.tflite(recipe))).get_signature_list()
        assert list(signatures) == ["serving_default"], recipe


def test_float32_equals_keras_and_quantized_ones_agree_with_it() -> None:
    shop = workshop()
    x = digits()[0][1200:]
    expected = shop.keras.predict(x, verbose=0)
    outputs = {recipe: Runner(shop.tflite(recipe)).run(x) for recipe in RECIPES}
    assert np.abs(outputs["float32"] - expected).max() < 1e-5
    for recipe, output in outputs.items():
        assert np.mean(output.argmax(1) == expected.argmax(1)) > 0.97, recipe


def test_per_tensor_stores_fewer_scales_than_per_channel() -> None:
    manifests = workshop().manifests
    assert manifests["int8-per-tensor"].size_bytes < manifests["int8"].size_bytes
    assert manifests["float16"].size_bytes < manifests["float32"].size_bytes


def test_a_bundle_is_added_to_deterministically_by_a_parent_without_tensorflow(tmp_path: Path) -> None:
    shop = workshop()
    code = (
        "import sys; from pathlib import Path; from litemill.convert.bundle import convert_bundle;"
        "convert_bundle(Path(sys.argv[1]), {'plain': [{'name': 'float32', 'options': {}}]}, Path(sys.argv[2]));"
        "print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(shop.model), str(tmp_path / "first")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
    (again,) = convert_bundle(
        shop.model, {"int8": INT8}, tmp_path / "second", dataset=shop.dataset, bundle=tmp_path / "first", seed=7
    )
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == ["int8", "plain"]
    assert again.sha256 == shop.manifests["int8"].sha256
    assert sha256_of(tmp_path / "second/plain" / TFLITE) == shop.manifests["float32"].sha256
    with pytest.raises(ConfigError, match="'plain' is in the bundle already"):
        convert_bundle(shop.model, {"plain": FLOAT32}, tmp_path / "third", bundle=tmp_path / "first")
    assert not (tmp_path / "third").exists()


def test_a_failed_model_gives_failed_variants_with_its_reason(tmp_path: Path) -> None:
    manifest = ModelManifest(origin="x", origin_sha256="", status="failed", reason="prune: sparsity 0.2 reached of 0.5")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / MODEL).write_text(manifest.model_dump_json())
    found = convert_bundle(tmp_path / "model", {"a": FLOAT32}, tmp_path / "out")
    assert [(item.status, item.reason) for item in found] == [("failed", manifest.reason)]
    assert not (tmp_path / "out/a" / TFLITE).exists()
    assert json.loads((tmp_path / "out/a" / VARIANT).read_text())["status"] == "failed"


def test_a_calibrated_scheme_needs_data_and_a_model_needs_its_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe 'q' needs a dataset to calibrate with"):
        convert_bundle(workshop().model, {"q": INT8}, tmp_path / "out")
    with pytest.raises(InputError, match="cannot read"):
        convert_bundle(tmp_path, {"f": FLOAT32}, tmp_path / "out")


def test_samples_that_cannot_calibrate_fail_their_recipe_before_tensorflow_sees_them(tmp_path: Path) -> None:
    x, y = digits()
    bad = x[:40].copy()
    bad[3] = np.inf
    dataset = write_dataset(tmp_path / "data", {"calibration": (bad, y[:40])}, 10)
    (found,) = convert_bundle(workshop().model, {"q": INT8}, tmp_path / "out", dataset=dataset)
    assert found.status == "failed"
    assert "1 of 40 calibration samples hold NaN or Inf, the first at index 3" in found.reason
    assert [path.name for path in (tmp_path / "out/q").iterdir()] == [VARIANT]


def test_a_native_crash_costs_only_the_recipe_it_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The crash is TensorFlow's own: Inf in the calibration samples, let through to it.
    monkeypatch.setattr(bundle_module, "worker_module", lambda: "tests.convert.unchecked_worker")
    x, y = digits()
    bad = x[:40].copy()
    bad[3] = np.inf
    dataset = write_dataset(tmp_path / "data", {"calibration": (bad, y[:40])}, 10)
    first, crashed, last = convert_bundle(
        workshop().model, {"a": FLOAT32, "b": INT8, "c": [Step(name="float16")]}, tmp_path / "out", dataset=dataset
    )
    assert (first.status, crashed.status, last.status) == ("ok", "failed", "ok")
    assert "killed by SIG" in crashed.reason
    assert "Fatal Python error" in crashed.reason


def test_a_conversion_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "TIME_LIMIT", 0.05)
    (found,) = convert_bundle(workshop().model, {"f": FLOAT32}, tmp_path / "out")
    assert (found.status, found.reason) == ("failed", "took more than 0.05 s and was ended")


def test_a_reshape_to_a_fixed_shape_still_follows_the_batch(tmp_path: Path) -> None:
    k = keras()
    layers = [k.Input((6, 4)), k.layers.Reshape((4, 6)), k.layers.Dense(3), k.layers.Reshape((12,)), k.layers.Dense(2)]
    model = k.Sequential(layers)
    x = np.random.default_rng(0).normal(size=(5, 6, 4)).astype(np.float32)
    path = convert_here(write_model(tmp_path / "model", model), "float32", [-1, 6, 4], tmp_path / "f.tflite")
    graph = read_graph(path)
    assert graph.inputs[0].shape == [1, 6, 4]
    assert graph.ops == {"RESHAPE": 2, "FULLY_CONNECTED": 2}
    runner = Runner(path, batch=5)
    assert runner.batch == 5
    assert np.abs(runner.run(x) - model.predict(x, verbose=0)).max() < 1e-5
