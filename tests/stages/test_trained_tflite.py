"""A float `.tflite` as the source of train-aware steps: rebuilt at import, trained, shipped as int8."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.config.run import Distillation, RunSpec, Training
from litemill.config.steps import PruneOptions, QatOptions, parse_step
from litemill.convert.bundle import convert_bundle
from litemill.data.splits import Splits
from litemill.doctor.preflight import preflight
from litemill.evidence.sources import ModelManifest
from litemill.evidence.training import PruneFindings
from litemill.models.backend import tf_keras
from litemill.models.store import load_model
from litemill.runtime import Runner
from litemill.stages.import_model import import_model
from tests.models.made_tflites import model_to_tflite
from tests.workshop import convert_here, take

TRAINING = Training(epochs=2, batch_size=64, learning_rate=1e-3)


@pytest.fixture(scope="module")
def source(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model as a file of the converter's."""
    folder = tmp_path_factory.mktemp("tflite")
    shutil.copytree(digits_model, folder / "model")
    return convert_here(folder / "model", "float32", [-1, 8, 8, 1], folder / "digits.tflite")


@pytest.fixture(scope="module")
def imported(source: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the imported model and its baseline."""
    folder = tmp_path_factory.mktemp("imported")
    import_model(source, digits_dataset, out=folder / "model", baseline=folder / "baseline")
    return folder


def test_the_import_proves_what_it_rebuilt_and_records_it(
    imported: Path, source: Path, digits_model: Path, digits_dataset: Path
) -> None:
    manifest = read_manifest(imported / "model/model.json", ModelManifest)
    report = manifest.rebuilt
    assert manifest.trainable and report is not None
    assert max(report.error.values()) < 1e-4 and report.ops == {}
    norms = [layer for layer in load_model(digits_model).layers if type(layer).__name__ == "BatchNormalization"]
    assert len(report.batch_norm) == len(norms) > 1
    assert any(f"BatchNormalization was put back in {len(norms)} places" in note for note in manifest.notes)
    assert (imported / "model/model.tflite").read_bytes() == source.read_bytes()
    x = np.asarray(Splits.open(digits_dataset).test.x)
    expected = Runner(source, batch=1).run(x)
    np.testing.assert_allclose(load_model(imported / "model").predict(x, verbose=0), expected, atol=1e-4)


def test_post_training_variants_are_made_of_the_file_itself(
    imported: Path, source: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    import_model(source, digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline", trains=False)
    recipes = {name: [parse_step(name)] for name in ("float32", "int8", "weights-int8")}
    found = [
        {one.recipe: one.sha256 for one in convert_bundle(model, recipes, tmp_path / name, dataset=digits_dataset)}
        for name, model in (("with", imported / "model"), ("without", tmp_path / "model"))
    ]
    assert found[0] == found[1] and all(found[0].values())


def test_it_is_pruned_and_trained_for_int8_with_a_teacher(imported: Path, digits_dataset: Path, tmp_path: Path) -> None:
    model, data = imported / "model", Splits.open(digits_dataset)
    taught = TRAINING.model_copy(update={"distillation": Distillation(weight=0.5)})
    pruned = take(model, digits_dataset, PruneOptions(), taught, tmp_path / "prune", source=model)
    assert pruned.status == "ok", pruned.reason
    record = pruned.steps[0]
    assert pruned.rebuilt is not None and record.measured["restored_batch_norm"] == pruned.rebuilt.batch_norm
    assert "with BatchNormalization put back in" in record.warnings[-1]
    assert all(layer.sparsity >= 0.48 for layer in record.found(PruneFindings).layers.values())
    done = take(tmp_path / "prune", digits_dataset, QatOptions(epochs=1), TRAINING, tmp_path / "qat", source=model)
    assert done.status == "ok", done.reason
    assert "restored_batch_norm" not in done.steps[-1].measured, "the first step alone starts from it"
    recipe = [parse_step(name) for name in ("prune", "qat", "int8")]
    (variant,) = convert_bundle(tmp_path / "qat", {"pqat": recipe}, tmp_path / "variants", dataset=digits_dataset)
    assert variant.status == "ok", variant.reason
    outputs = Runner(tmp_path / "variants/pqat/model.tflite").run(np.asarray(data.test.x))
    assert np.mean(outputs.argmax(1) == np.asarray(data.test.y)) > 0.9
    assert variant.graph is not None and "DEPTHWISE_CONV_2D" in variant.graph.ops
    assert not {"MUL", "ADD"} & set(variant.graph.ops), "what was put back is folded again"


def config(path: Path, **model: bool) -> RunSpec:
    return RunSpec.model_validate(
        {
            "name": "x",
            "model": {"uri": str(path), **model},
            "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}},
            "recipes": {"int8": ["int8"], "pruned": ["prune", "int8"], "qat": ["finetune", "qat", "int8"]},
        }
    )


def test_a_plan_names_the_op_that_keeps_a_file_from_being_trained(
    source: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    layers = tf_keras().layers
    rows = [layers.Input((8, 8, 1)), layers.Reshape((8, 8)), layers.GRU(4), layers.Dense(10)]
    looping = model_to_tflite(tf_keras().Sequential(rows), tmp_path / "gru.tflite")
    warnings = preflight(config(looping)).warnings
    assert [text.partition(": ")[0] for text in warnings] == ["recipe pruned will fail", "recipe qat will fail"]
    for text in warnings:
        assert "WHILE" in text and "runs another subgraph" in text and "\n" not in text
    manifest = import_model(looping, digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert not manifest.trainable and "WHILE" in manifest.notes[0]
    failed = take(tmp_path / "model", digits_dataset, PruneOptions(), TRAINING, tmp_path / "pruned")
    assert failed.status == "failed" and "WHILE" in failed.reason
    assert preflight(config(source)).warnings == []
    (nothing,) = preflight(config(source, from_quantized=True)).warnings
    assert nothing == "model.from_quantized has no effect: the model is not quantized"


def test_a_quantized_file_is_a_start_where_that_is_asked_for_and_batch_norm_can_be_left_off(
    imported: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    convert_bundle(imported / "model", {"int8": [parse_step("int8")]}, tmp_path / "variants", dataset=digits_dataset)
    rounded = tmp_path / "variants/int8/model.tflite"
    (warning,) = preflight(config(rounded, from_quantized=True)).warnings
    assert "weights that were rounded already" in warning and "int8 weights" in warning
    spec = {"uri": str(rounded), "from_quantized": True, "restore_batch_norm": False}
    again = import_model(spec, digits_dataset, out=tmp_path / "again", baseline=tmp_path / "again-baseline")
    assert again.trainable and "rounded already" in again.notes[0]
    assert again.rebuilt is not None and again.rebuilt.batch_norm == []
    assert not any("BatchNorm" in type(layer).__name__ for layer in load_model(tmp_path / "again").layers)
    data = Splits.open(digits_dataset)
    outputs = Runner(tmp_path / "again-baseline/baseline/model.tflite").run(np.asarray(data.test.x))
    assert np.mean(outputs.argmax(1) == np.asarray(data.test.y)) > 0.9
