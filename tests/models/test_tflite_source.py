"""A float `.tflite` as the source of a run: evaluated as it is, quantized by litert-quantizer, without TensorFlow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litemill.artifacts.files import read_manifest
from litemill.artifacts.inputs import joined
from litemill.benchmark.files import subject_of
from litemill.config.run import RunSpec
from litemill.config.schemes import SCHEMES
from litemill.config.steps import parse_step, tflite_obstacle
from litemill.convert import from_tflite
from litemill.data.splits import Splits
from litemill.doctor.diagnose import diagnose
from litemill.doctor.preflight import preflight
from litemill.errors import InputError, StepFailed
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer import read_graph
from litemill.models.peek import peek
from litemill.models.sized import sized
from litemill.models.source import load_source
from litemill.models.store import load_model, save_tflite
from litemill.plugins import load
from litemill.runtime import Runner
from litemill.slim.rewrite import slim
from tests.workshop import convert_here, keras

RECIPES: dict[str, Any] = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "dynamic",
    "int8": "int8",
    "int8-float-io": {"int8": {"io": "float32"}},
    "int8-per-tensor": {"int8": {"per_channel": False}},
    "int16x8": "int16x8",
    "int16x8-float-io": {"int16x8": {"io": "float32"}},
    "weights-int8": "weights-int8",
    "weights-int4": "weights-int4",
    "int8-uint8-io": {"int8": {"io": "uint8"}},
    "mixed": "mixed-int8",
}
LEAST_AGREEMENT = {"float32": 1.0, "float16": 1.0, "weights-int4": 0.75}
"""With the source's top 1, on the test split; 0.97 for every other; int4 leaves 15 values for a weight."""


@pytest.fixture(scope="module")
def source(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model as a `.tflite` that an earlier run slimmed: no names of inner tensors, no signature."""
    folder = tmp_path_factory.mktemp("tflite")
    shutil.copytree(digits_model, folder / "model")
    converted = convert_here(folder / "model", "float32", [-1, 8, 8, 1], folder / "whole.tflite").read_bytes()
    (folder / "digits.tflite").write_bytes(slim(converted, keep=()))
    return folder / "digits.tflite"


WITHOUT_TENSORFLOW = """
import json, sys
from pathlib import Path
from litemill.convert.bundle import convert_bundle
from litemill.evaluate import evaluate_bundle
from litemill.stages.import_model import import_model
source, dataset, out, recipes = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
import_model(source, dataset, out=out / "model", baseline=out / "baseline", trains=False)
convert_bundle(out / "model", recipes, out / "variants", dataset=dataset)
evaluate_bundle(out / "variants", dataset, out / "evaluation")
sys.exit("tensorflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def made(source: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model, its baseline and a variant of every recipe, made where TensorFlow cannot be imported."""
    out = tmp_path_factory.mktemp("made")
    (out / "blocked/tensorflow").mkdir(parents=True)
    (out / "blocked/tensorflow/__init__.py").write_text("raise ImportError('there is no TensorFlow here')")
    recipes = {name: [parse_step(step).model_dump()] for name, step in RECIPES.items()}
    paths = [str(out / "blocked"), *filter(None, sys.path)]
    arguments = [str(source), str(digits_dataset), str(out), json.dumps(recipes)]
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=True,
    )
    return out


def variant(made: Path, recipe: str) -> VariantManifest:
    return read_manifest(made / "variants" / recipe / "variant.json", VariantManifest)


def test_it_is_imported_as_it_is(made: Path, source: Path, digits_dataset: Path) -> None:
    assert peek(source).input_shape == (8, 8, 1) and peek(source).format == "tflite"
    manifest = read_manifest(made / "model/model.json", ModelManifest)
    assert (made / "model/model.tflite").read_bytes() == source.read_bytes()
    assert not manifest.trainable and manifest.inputs[0].shape == [-1, 8, 8, 1]
    x = Splits.open(digits_dataset).test.x
    baseline = Runner(made / "baseline/baseline/model.tflite")
    assert baseline.batch > 1, "or an evaluation takes one call a sample"
    np.testing.assert_allclose(baseline.run(x), Runner(source, batch=1).run(x), rtol=1e-5, atol=1e-6)
    assert not (made / "model/model.keras").exists(), "nothing trains, so nothing is rebuilt"
    with pytest.raises(StepFailed, match=r"its layers were not rebuilt, as nothing trains"):
        load_model(made / "model")


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in ("int8-uint8-io", "mixed")])
def test_every_scheme_agrees_with_the_source(recipe: str, made: Path, source: Path, digits_dataset: Path) -> None:
    found = variant(made, recipe)
    assert found.status == "ok", found.reason
    x = np.asarray(Splits.open(digits_dataset).test.x)
    expected, outputs = Runner(source).run(x), Runner(made / "variants" / recipe / "model.tflite").run(x)
    assert np.mean(outputs.argmax(1) == expected.argmax(1)) >= LEAST_AGREEMENT.get(recipe, 0.97)
    graph = read_graph(made / "variants" / recipe / "model.tflite")
    kernels = {weight.dtype for weight in graph.weights if len(weight.shape) > 1}
    wanted = {"float32": "float32", "float16": "float16", "weights-int4": "int4"}.get(recipe, "int8")
    assert wanted in kernels
    assert graph.inputs[0].dtype == {"int8": "int8", "int8-per-tensor": "int8", "int16x8": "int16"}.get(
        recipe, "float32"
    )
    assert found.size_bytes <= variant(made, "float32").size_bytes


def test_what_the_quantizer_cannot_make_fails_with_its_reason(made: Path) -> None:
    answer = "needs a Keras model or a SavedModel: litert-quantizer does not make it from a .tflite"
    assert variant(made, "mixed").reason == f"mixed-int8 {answer}"
    assert variant(made, "int8-uint8-io").reason == f"int8 with io: uint8 {answer}"


def test_a_signature_of_its_own_is_kept(source: Path) -> None:
    whole = source.with_name("whole.tflite")
    signature = Interpreter(str(whole)).get_signature_list()
    converted = from_tflite.dynamic(whole, SCHEMES["dynamic"].options(), np.empty((0, 8, 8, 1), np.float32)).data
    assert signature and Interpreter(model_content=converted).get_signature_list() == signature


def config(model: Path) -> RunSpec:
    return RunSpec.model_validate(
        {
            "name": "x",
            "model": {"uri": str(model)},
            "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}},
            "recipes": {
                "int8": ["int8"],
                "pruned": ["prune", "int8"],
                "mixed": ["mixed-int8"],
                "qat": ["qat", {"int8": {"io": "uint8"}}],
            },
        }
    )


def test_a_plan_and_the_doctor_say_which_recipes_cannot_work(source: Path) -> None:
    warnings = preflight(config(source)).warnings
    assert [text.partition(": ")[0] for text in warnings] == ["recipe mixed will fail"]
    diagnosis = diagnose(config(source))
    assert [name for name, obstacle in diagnosis.recipes.items() if obstacle] == ["mixed"]
    assert diagnosis.recipes["mixed"].startswith("mixed-int8 needs a Keras model or a SavedModel")
    rows = {row.name: row for row in diagnosis.layers}
    assert {row.type for row in rows.values()} >= {"Conv2D", "DepthwiseConv2D", "BatchNormalization", "Dense"}
    assert any(not row.prune for row in rows.values()) and not any(row.qat for row in rows.values())


def test_the_plan_knows_what_the_conversion_knows() -> None:
    for scheme in SCHEMES.records():
        assert callable(load(scheme.from_saved_model))
        assert not scheme.from_tflite or callable(load(scheme.from_tflite))
        assert set(scheme.tflite_options) <= set(scheme.options.model_fields)
    assert tflite_obstacle([parse_step({"int8": {"io": "int8"}})]) == "", "what is the default may be said"


def test_a_file_that_no_run_can_start_from_is_refused(made: Path, source: Path, tmp_path: Path) -> None:
    def answer(path: Path) -> str:
        with pytest.raises(InputError) as error:
            peek(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    for recipe, weights in (("int8", "int8 weights"), ("dynamic", "int8 weights"), ("weights-int4", "int4 weights")):
        text = answer(made / "variants" / recipe / "model.tflite")
        assert "is quantized already (" in text and weights in text and "Give the float32 file" in text
    data = source.read_bytes()
    (tmp_path / "m.tflite").write_bytes(data[: len(data) // 2])
    assert "m.tflite: is a damaged .tflite" in answer(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").write_bytes(b"TFL3 is not where it should be")
    assert "nor a .tflite" in answer(tmp_path / "m.tflite")


def test_a_fixed_batch_is_refused(source: Path, tmp_path: Path) -> None:
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    from litemill.flatbuffer import read_model

    model = read_model(source)
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shape = np.array([16, 8, 8, 1], np.int32)
    (tmp_path / "m.tflite").write_bytes(convert_object_to_bytearray(model))
    with pytest.raises(InputError, match=r"has the fixed shape \[16, 8, 8, 1\]\. Convert it with a batch of 1"):
        peek(tmp_path / "m.tflite")


def test_a_file_with_several_inputs_and_no_signature_is_fed_in_its_order(tmp_path: Path) -> None:
    """Slimmed without its signature, or made by another tool: nothing names its inputs."""
    k = keras()
    left, right = k.Input((4,), name="left"), k.Input((6,), name="right")
    both = k.layers.Concatenate()([k.layers.Dense(3)(left), k.layers.Dense(5, activation="relu")(right)])
    model = k.Model([left, right], k.layers.Dense(2)(both))
    model.export(str(tmp_path / "model/saved_model"))
    folder = tmp_path / "two.tflite"
    convert_here(tmp_path / "model", "float32", [-1, 4], folder, inputs={"left": [-1, 4], "right": [-1, 6]})
    order = [info.shape[-1] for info in read_graph(folder).inputs]
    folder.write_bytes(slim(folder.read_bytes(), keep=()))
    rng = np.random.default_rng(0)
    parts = {name: rng.normal(size=(30, size)).astype(np.float32) for name, size in zip("ab", order, strict=True)}
    x = joined(parts)
    source = sized(load_source(folder), {name: part.shape[1:] for name, part in parts.items()})
    assert source.notes[-1].endswith("by their order: a, b")
    expected = model.predict([parts["ab"[order.index(4)]], parts["ab"[order.index(6)]]], verbose=0)
    assert np.allclose(source.predict(x), expected, atol=1e-5)
    manifest = save_tflite(source.export, ModelManifest(origin="", origin_sha256=""), tmp_path / "artifact")
    assert [info.name for info in manifest.inputs] == ["a", "b"]
    assert np.allclose(Runner(tmp_path / "artifact/model.tflite").run(x), expected, atol=1e-5)
    assert np.allclose(Runner(folder).run(x), expected, atol=1e-5), "benchmark and inspect take the file itself"
    subject = subject_of(folder)
    assert subject.unnamed
    assert np.array_equal(subject.raw(x).view(np.uint8), x.view(np.uint8))
    int8 = from_tflite.int8(tmp_path / "artifact/model.tflite", parse_step("int8").parsed(), x)  # type: ignore[arg-type]
    (tmp_path / "int8.tflite").write_bytes(int8.data)
    assert np.corrcoef(Runner(tmp_path / "int8.tflite").run(x).ravel(), expected.ravel())[0, 1] > 0.99


def test_a_float_tflite_with_state_starts_anew_with_each_sample(tmp_path: Path) -> None:
    k = keras()
    inputs = k.Input((6, 2))
    k.Model(inputs, k.layers.Dense(2)(k.layers.LSTM(4)(inputs))).export(str(tmp_path / "model/saved_model"))
    file = convert_here(tmp_path / "model", "float32", [-1, 6, 2], tmp_path / "lstm.tflite")
    x = np.random.default_rng(0).normal(size=(12, 6, 2)).astype(np.float32)
    found = load_source(file).predict(x)
    assert np.array_equal(load_source(file).predict(x[::-1])[::-1], found)
    assert np.allclose(Runner(file).run(x), found, atol=1e-6)
