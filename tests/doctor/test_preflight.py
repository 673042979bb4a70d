"""What is told before any compute about a model that train-aware steps cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from litemill.config.run import RunSpec
from litemill.doctor.preflight import preflight
from litemill.errors import InputError
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.store import load_model
from litemill.slim import lut_files


def test_recipes_that_a_graph_cannot_take_are_named(digits_model: Path, tmp_path: Path) -> None:
    load_model(digits_model).export(str(tmp_path / "graph"))
    config = {
        "name": "x",
        "model": {"uri": str(tmp_path / "graph")},
        "data": {"kind": "digits"},
        "recipes": {"int8": ["int8"], "pruned": ["prune", "int8"]},
    }
    (warning,) = preflight(RunSpec.model_validate(config)).warnings
    assert warning.endswith("train-aware steps cannot work: recipes pruned will fail")
    keras = config | {"model": {"uri": str(digits_model.parent / "digits.keras")}}
    assert preflight(RunSpec.model_validate(keras)).warnings == []


def test_accuracy_with_a_phones_kernels_for_microcontrollers_alone_is_told(digits_model: Path) -> None:
    config = {
        "name": "x",
        "model": {"uri": str(digits_model.parent / "digits.keras")},
        "data": {"kind": "digits"},
        "recipes": {"int8": ["int8"]},
        "targets": ["tflm", "ethos-u55-128"],
    }
    (warning,) = preflight(RunSpec.model_validate(config)).warnings
    assert warning.startswith(
        "accuracy is that of XNNPACK, whose int8 outputs differ from those of tflm, ethos-u55-128"
    )
    for settled in ({"evaluation": {"kernels": "reference"}}, {"targets": ["host", "tflm"]}):
        assert preflight(RunSpec.model_validate(config | settled)).warnings == []


def test_a_target_whose_program_is_not_here_is_named_before_anything_trains(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    phone = {"name": "phone", "device": "adb://R58M", "benchmark_model": "no/such/binary"}
    there = {"name": "there", "device": "ssh://pi", "runner": "benchmark_model", "benchmark_model": "device:/bin/bm"}
    config = {
        "name": "x",
        "model": {"uri": str(digits_model.parent / "digits.keras")},
        "data": {"kind": "digits"},
        "recipes": {"int8": ["int8"]},
        "targets": [phone, there, "edgetpu", {"name": "coral", "device": "edgetpu", "compiler": "/no/compiler"}],
    }
    assert preflight(RunSpec.model_validate(config)).warnings == [
        "target phone will fail: there is no benchmark_model at no/such/binary",
        "target edgetpu is predicted by rules, without edgetpu_compiler",
        "target coral will fail: there is no program '/no/compiler'",
    ]


def test_look_up_tables_that_nothing_here_can_write_are_named(
    digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lut_files, "find_spec", lambda name: None)
    config = {
        "name": "x",
        "model": {"uri": str(digits_model.parent / "digits.keras")},
        "data": {"kind": "digits"},
        "recipes": {"int8": ["int8"]},
        "targets": ["host", "tflm"],
    }
    (warning,) = preflight(RunSpec.model_validate(config)).warnings
    assert warning.startswith("deploy.lut: tflite-micro is not installed here, so variants get no model.tflm.tflite")
    assert preflight(RunSpec.model_validate(config | {"deploy": {"lut": False}})).warnings == []


def test_a_batch_that_is_larger_than_the_data_is_refused_where_it_was_asked_for(digits_model: Path) -> None:
    model = {"uri": str(digits_model.parent / "digits.keras")}
    config = {"name": "t", "model": model, "data": {"kind": "digits", "limit": {"train": 100}}}
    trained = {"recipes": {"p": [{"prune": {"min_weights": 1}}, "int8"]}}
    with pytest.raises(InputError, match=r"training\.batch_size: is 128, but the train split has 100 samples"):
        preflight(RunSpec.model_validate(config | trained | {"training": {"batch_size": 128}}))
    for recipes, training in ((trained, {}), ({"recipes": {"i": ["int8"]}}, {"batch_size": 128})):
        preflight(RunSpec.model_validate(config | recipes | {"training": training}))


@pytest.mark.parametrize("kind", ["graph", "tflite"])
def test_an_output_that_a_graph_does_not_have_is_told_whatever_the_format(kind: str, tmp_path: Path) -> None:
    keras, tf = tf_keras(), tensorflow()
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(4)(flat), keras.layers.Dense(10, activation="softmax")(flat)])

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 1], name="image")])
    def serve(image: Any) -> dict[str, Any]:
        place, scores = model(image)
        return {"place": place, "scores": scores}

    source = tmp_path / "graph"
    tf.saved_model.save(model, str(source), signatures=serve)
    if kind == "tflite":
        converted = tf.lite.TFLiteConverter.from_saved_model(str(source)).convert()
        source = tmp_path / "m.tflite"
        source.write_bytes(converted)

    def told(**data: str) -> object:
        data = {"kind": "digits", **data}
        config = {"name": "x", "model": {"uri": str(source)}, "data": data, "recipes": {"int8": ["int8"]}}
        return preflight(RunSpec.model_validate(config))

    with pytest.raises(InputError, match=r"has no output 'score'; did you mean 'scores'\? data.output"):
        told(output="score")
    with pytest.raises(InputError, match=r"place, scores"):
        told()
    with pytest.raises(InputError, match=r"gives outputs of shape \[4\] for data with 10 classes"):
        told(output="place")
    told(output="scores")
