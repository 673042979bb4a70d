"""The doctor names what is wrong, and what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import litemill as lm
from litemill.cli.app import app
from litemill.config.run import DataSpec, Preprocessing, RunSpec
from litemill.data.checks import open_source
from litemill.data.digits import open_digits
from litemill.data.preprocess import preprocess
from litemill.doctor.diagnose import diagnose
from litemill.doctor.findings import to_markdown
from litemill.doctor.samples import examine_samples
from litemill.doctor.scaling import examine_scaling, measure_of
from litemill.models.backend import tf_keras
from litemill.models.store import load_model
from litemill.tasks import decisions

TASK = decisions("classification")
assert TASK
MEASURE = measure_of(TASK, TASK.reading)
RECIPES = {"int8": ["int8"], "pruned": ["prune", "int8"], "qat": ["qat", "int8"]}


def config(model: Path, **data: Any) -> dict[str, Any]:
    section = {"kind": "digits", "preprocessing": {"scale": 0.0625}} | data
    return {"name": "x", "model": {"uri": str(model)}, "data": section, "recipes": RECIPES}


def run_spec(model: Path, **data: Any) -> RunSpec:
    return RunSpec.model_validate(config(model, **data))


def test_a_sound_run_is_found_sound(digits_model: Path) -> None:
    diagnosis = diagnose(run_spec(digits_model.parent / "digits.keras"))
    assert {finding.level for finding in diagnosis.findings} == {"ok"}
    assert diagnosis.recipes == {"int8": "", "pruned": "", "qat": ""}
    layers = {layer.type: layer for layer in diagnosis.layers}
    assert layers["DepthwiseConv2D"].prune == "DepthwiseConv2D is not supported" and not layers["DepthwiseConv2D"].qat
    assert "| int8 | should work |" in to_markdown(diagnosis)


def test_wrong_scaling_is_named_with_the_right_one(digits_model: Path, tmp_path: Path) -> None:
    written = config(digits_model.parent / "digits.keras", preprocessing={"scale": 1 / 255})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(written))
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "run.yaml"), "--markdown", str(tmp_path / "d.md")])
    assert result.exit_code == 1
    answer = (tmp_path / "d.md").read_text()
    assert "**error**: the model is right on" in answer
    assert "Set data.preprocessing: {scale: 0.0625}" in answer


@pytest.mark.parametrize(
    "right",
    [{"scale": 2 / 255, "offset": -1.0}, {"scale": 1 / 255, "channel_order": "bgr"}, {"channel_order": "bgr"}, {}],
)
def test_the_usual_preprocessings_are_told_apart(right: dict[str, Any]) -> None:
    """A model that knows its own preprocessing exactly, judged with another one configured."""
    rng = np.random.default_rng(0)
    source = open_digits(DataSpec(kind="digits"), 0)
    test = source.splits["test"]
    x = rng.integers(0, 256, (len(test), 4, 4, 3), dtype=np.uint8)
    object.__setattr__(test, "read", lambda index: iter([x[index]]))
    known = preprocess(x, Preprocessing(**right)).reshape(len(x), -1)

    def predict(inputs: np.ndarray) -> np.ndarray:
        rows = inputs.reshape(len(inputs), -1)
        distance = ((rows[:, None] - known[None]) ** 2).mean(axis=2)
        found = np.where(distance.min(axis=1) < 1e-9, test.strata[distance.argmin(axis=1)], 0)
        return np.eye(10, dtype=np.float32)[found]

    (finding,) = examine_scaling(
        source, DataSpec(kind="digits", preprocessing=Preprocessing(offset=7.0)), predict, MEASURE
    )
    assert finding.level == "error"
    written = yaml.safe_load(finding.fix.removeprefix("Set data.preprocessing: "))
    assert Preprocessing(**written) == Preprocessing(**right)
    (finding,) = examine_scaling(
        source, DataSpec(kind="digits", preprocessing=Preprocessing(**right)), predict, MEASURE
    )
    assert finding.level == "ok"


def test_a_model_at_chance_level_is_told() -> None:
    source = open_digits(DataSpec(kind="digits"), 0)

    def predict(x: np.ndarray) -> np.ndarray:
        return np.eye(10, dtype=np.float32)[np.zeros(len(x), int)]

    (finding,) = examine_scaling(source, DataSpec(kind="digits"), predict, MEASURE)
    assert finding.level == "error" and "always saying one class would be on" in finding.what


def test_what_happens_to_a_rescaling_layer_is_said(digits_model: Path, tmp_path: Path) -> None:
    keras = tf_keras()
    image = keras.layers.Input((8, 8, 1))
    model = keras.Model(image, load_model(digits_model)(keras.layers.Rescaling(0.0625, name="to_unit")(image)))
    model.save(tmp_path / "m.keras")
    diagnosis = diagnose(run_spec(tmp_path / "m.keras", preprocessing={}))
    (answer,) = [finding for finding in diagnosis.findings if "to_unit" in finding.what]
    assert "becomes an operation of the .tflite file" in answer.what
    assert "leaves it float, in front of the layers it quantizes" in answer.what
    assert any("nested models were taken apart" in finding.what for finding in diagnosis.findings)
    assert diagnosis.recipes["qat"] == ""
    assert diagnosis.recipes["pruned"] == ""


def test_a_graph_takes_post_training_recipes_only(digits_model: Path, tmp_path: Path) -> None:
    load_model(digits_model).export(str(tmp_path / "graph"))
    diagnosis = diagnose(run_spec(tmp_path / "graph"))
    assert diagnosis.recipes["int8"] == ""
    assert diagnosis.recipes["pruned"].startswith("prune needs a Keras 2 model: a SavedModel without Keras metadata")


def test_leaks_blank_samples_imbalance_and_coverage(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    y = np.repeat([0, 1, 2], [50, 9, 1])
    x[3] = 0
    test = np.concatenate([x[10:15], rng.integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)])
    arrays = {"x_train": x, "y_train": y, "x_test": test, "y_test": np.arange(25) % 3}
    np.savez(tmp_path / "d.npz", **arrays, x_calibration=test[:4], y_calibration=np.zeros(4))
    spec = DataSpec(kind="npz", uri=str(tmp_path / "d.npz"))
    answer = [finding.what for finding in examine_samples(open_source(spec), spec)]
    assert "5 test samples are in the train split too: accuracy will look better than it is" in answer
    assert "4 test samples are in the calibration split too: accuracy will look better than it is" in answer
    assert "1 of 60 train samples hold one value only (blank images?)" in answer
    assert "classes are uneven: 50 train samples of class 0, 1 of 2" in answer
    assert "the calibration set has no sample of classes [1, 2]: their activations may be clipped" in answer


def test_the_task_writes_what_it_finds_and_never_fails_for_it(digits_model: Path, tmp_path: Path) -> None:
    """Recipes come as plain data; data that can't be used is a finding, in the words of the task that needs it."""
    run = {"name": "run", "model": {"uri": str(digits_model.parent / "digits.keras")}, "training": {"seed": 3}}
    run |= {"recipes": {"pruned": [{"name": "prune", "options": {"sparsity": 0.5}}, {"name": "int8", "options": {}}]}}
    wrong = {"kind": "digits", "preprocessing": {"scale": 1 / 255}}
    found = lm.doctor({**run, "data": wrong}, out=tmp_path / "wrong.md")
    assert [finding.level for finding in found.findings] == ["ok", "ok", "error"]
    answer = (tmp_path / "wrong.md").read_text()
    assert "Set data.preprocessing: {scale: 0.0625}" in answer
    assert "| pruned | should work |" in answer
    absent = {"kind": "npz", "uri": str(tmp_path / "absent.npz")}
    lm.doctor({**run, "data": absent}, out=tmp_path / "absent.md")
    assert f"- **error**: {tmp_path}/absent.npz: no such file" in (tmp_path / "absent.md").read_text()
    x = np.random.default_rng(0).random((40, 8, 8, 1))
    x[7, 2, 3] = np.inf
    np.savez(tmp_path / "inf.npz", x_train=x, y_train=np.arange(40) % 10, x_test=x[:6], y_test=np.arange(6))
    lm.doctor({**run, "data": {"kind": "npz", "uri": str(tmp_path / "inf.npz")}}, out=tmp_path / "inf.md")
    assert (
        r"inf.npz\[x_train\]: sample 7 has NaN or infinite values. Clean the data first"
        in (tmp_path / "inf.md").read_text()
    )


def test_a_model_that_changed_since_its_digest_was_taken_is_not_diagnosed(digits_model: Path, tmp_path: Path) -> None:
    """The diagnosis would be of another file than the one that is imported."""
    run = {"name": "run", "model": {"uri": str(digits_model.parent / "digits.keras")}, "data": {"kind": "digits"}}
    run |= {"recipes": {"int8": ["int8"]}}
    found = lm.doctor(run, sha256="0" * 64)
    assert [finding.level for finding in found.findings] == ["error"]
    assert "digest" in found.findings[0].what or "changed" in found.findings[0].what


def test_what_cannot_be_tried_is_a_line_and_what_no_recipe_asks_for_is_not_tried(tmp_path: Path) -> None:
    """Arithmetic between layers breaks TFMOT, a token id of −1 breaks an Embedding: neither is the run's business."""
    keras = tf_keras()
    layers = keras.layers
    ids = keras.Input((6,), dtype="int32")
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(50, 4)(ids)) * 2.0
    keras.Model(ids, layers.Dense(3, activation="softmax")(mean)).save(tmp_path / "m.keras")
    random = np.random.default_rng(0)
    x, y = random.integers(0, 50, (60, 6)), np.arange(60) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    spec = run_spec(tmp_path / "m.keras", kind="npz", uri=str(tmp_path / "d.npz"), preprocessing={})
    spec = spec.model_copy(update={"recipes": {name: spec.recipes[name] for name in ("int8", "qat")}})
    diagnosis = diagnose(spec)
    assert not [finding for finding in diagnosis.findings if "could not try" in finding.what]
    assert diagnosis.recipes["int8"] == ""
    assert "arithmetic between layers: tf.math.multiply (TFOpLambda)" in diagnosis.recipes["qat"]
    assert {layer.prune for layer in diagnosis.layers if layer.type == "Dense"} == {"no recipe asks for it"}
