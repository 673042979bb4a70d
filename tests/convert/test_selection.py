"""Layers that stay float or are quantized alone, and how litert-quantizer rounds weights: read back from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.layout import QUANTIZER_RECIPE, SAVED_MODEL
from litemill.config.steps import Step, check_order, parse_step
from litemill.convert import from_saved_model, from_tflite, worker
from litemill.convert.quantizer import check_recipe
from litemill.convert.selection import left_float
from litemill.convert.sensitivity import sqnr_db
from litemill.errors import ConfigError, StepFailed
from litemill.flatbuffer import read_graph
from litemill.runtime import Runner
from tests.workshop import digits, workshop

X, _ = digits()


def convert(folder: Path, scheme: str, **options: Any) -> Path:
    """Convert the digits model with options, in this process."""
    np.save(folder / "x.npy", X[:100])
    source, out = workshop().model, folder / "model.tflite"
    job = {"name": scheme, "scheme": scheme, "options": options, "inputs": {"": [-1, 8, 8, 1]}, "output": "", "seed": 0}
    job |= {"dtypes": {"": "float32"}, "task": "classification", "output_is": "", "fewest": 1, "train": ""}
    paths = {"saved_model": source / SAVED_MODEL, "static_model": source / "static", "out": out}
    paths |= dict.fromkeys(("calibration", "test"), folder / "x.npy") | {"findings": folder / "findings.json"}
    worker.convert(job | {name: str(path) for name, path in paths.items()})
    return out


def weights(path: Path) -> dict[str, str]:
    """dtype of the largest weight of each kind of op."""
    found = read_graph(path).weights
    return {weight.op: weight.dtype for weight in sorted(found, key=lambda weight: int(np.prod(weight.shape)))}


@pytest.mark.parametrize(
    ("scheme", "dtype", "options"),
    [
        ("float16", "float16", {}),
        ("dynamic", "int8", {}),
        ("weights-int8", "int8", {}),
        ("int8", "int8", {}),
        ("int8", "int8", {"io": "float32"}),
        ("int16x8", "int8", {}),
    ],
)
@pytest.mark.parametrize("chosen", [{"exclude": ["FULLY_CONNECTED"]}, {"include": ["*CONV_2D"]}])
def test_a_layer_that_is_left_out_keeps_its_float_weights(
    scheme: str, dtype: str, options: dict[str, Any], chosen: dict[str, Any], tmp_path: Path
) -> None:
    file = convert(tmp_path, scheme, **options, **chosen)
    found = weights(file)
    assert found["FULLY_CONNECTED"] == "float32"
    assert found["CONV_2D"] == found["DEPTHWISE_CONV_2D"] == dtype
    runner, float32 = Runner(file), Runner(workshop().tflite("float32"))
    assert np.mean(runner.run(X[:300]).argmax(1) == float32.run(X[:300]).argmax(1)) > 0.98
    recipe = json.loads((tmp_path / QUANTIZER_RECIPE).read_text())
    assert recipe[0]["regex"] == ".*"


def test_mixed_int8_leaves_what_is_excluded_in_float(tmp_path: Path) -> None:
    assert weights(convert(tmp_path, "mixed-int8", exclude=["FULLY_CONNECTED"]))["FULLY_CONNECTED"] == "float32"


def test_layers_are_known_by_their_names_and_a_typo_is_answered_with_the_nearest(tmp_path: Path) -> None:
    data = workshop().tflite("float32")
    float32 = from_saved_model.named_float(workshop().model / "static") if data else b""
    (name,) = (layer.name for layer in workshop().keras.layers if type(layer).__name__ == "DepthwiseConv2D")
    by_name = left_float(float32, [], [name])
    assert by_name == left_float(float32, [], ["DEPTHWISE_CONV_2D"]) == left_float(float32, [], [f"{name[:-2]}??"])
    with pytest.raises(StepFailed, match=rf"no layer or op is called '{name}x'; did you mean '{name}'\?"):
        left_float(float32, [], [f"{name}x"])
    with pytest.raises(StepFailed, match="leave no layer"):
        left_float(float32, [], ["*"])


@pytest.mark.parametrize("algorithm", ["octav", "mse"])
@pytest.mark.parametrize(("scheme", "least"), [("weights-int4", 12.0), ("weights-int8", 30.0), ("dynamic", 25.0)])
def test_weights_rounded_for_the_least_error_answer_as_float32_does(
    scheme: str, least: float, algorithm: str, tmp_path: Path
) -> None:
    float32 = Runner(workshop().tflite("float32")).run(X[:300])
    found = Runner(convert(tmp_path, scheme, algorithm=algorithm)).run(X[:300])
    assert sqnr_db(float32, found) > least


def test_what_would_undo_qat_or_cannot_be_made_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="'qat' trains what is quantized: name the layers in its own 'exclude'"):
        check_order([Step(name="qat"), parse_step({"int8": {"exclude": ["dense"]}})])
    with pytest.raises(ValueError, match="io: uint8 takes no include"):
        parse_step({"int8": {"io": "uint8", "exclude": ["dense"]}})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"weights-int8": {"granularity": "block32"}},
            r"weights alone in blocks float .*; use dynamic: \{bits: 4",
        ),
        ({"dynamic": {"granularity": "block32"}}, "block32 is for weights of 4 bits: add bits: 4"),
        ({"dynamic": {"bits": 4, "granularity": "block64", "algorithm": "mse"}}, "mse knows no blocks"),
        ({"dynamic": {"bits": 6}}, "bits are 4 or 8, not 6"),
        ({"int8": {"algorithm": "gptq"}}, r"gptq is not offered: .* use octav, or bring a recipe_file"),
        ({"int8": {"algorithm": "hadamard"}}, "hadamard is not offered: rotations need an op"),
        ({"int8": {"algorithm": "octav", "io": "uint8"}}, "io: uint8 takes no include"),
        ({"int8": {"algorithm": "gptqq"}}, "'min_max', 'octav' or 'mse'"),
        ({"int8": {"recipe_file": "none.json"}}, r"recipe_file none\.json: cannot be read: No such file"),
    ],
)
def test_what_the_quantizer_gets_wrong_is_refused_by_name_with_the_way_out(step: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_step(step)


@pytest.mark.parametrize(
    ("scheme", "options", "dense", "least"),
    [
        pytest.param("int8", {"algorithm": "octav", "io": "float32"}, "int8", 25.0, marks=pytest.mark.e2e),
        pytest.param("int16x8", {"algorithm": "octav"}, "int8", 30.0, marks=pytest.mark.e2e),
        pytest.param("dynamic", {"bits": 4}, "int4", 10.0, marks=pytest.mark.e2e),
        ("dynamic", {"bits": 4, "granularity": "block32"}, "int4", 10.0),
    ],
)
def test_each_way_to_round_weights_answers_as_float32_does(
    scheme: str, options: Any, dense: str, least: float, tmp_path: Path
) -> None:
    """Blocks with XNNPACK alone: the reference kernel of dense layers takes no notice of them."""
    file = convert(tmp_path, scheme, **options)
    assert weights(file)["FULLY_CONNECTED"] == dense
    expected = Runner(workshop().tflite("float32")).run(X[:200])
    for kernels in ("xnnpack", "reference"):
        found = sqnr_db(expected, Runner(file, kernels=kernels).run(X[:200]))
        assert found > least or (kernels == "reference" and "granularity" in options), (kernels, found)


def test_one_scale_for_a_depthwise_convolution_is_refused_where_litert_gets_it_wrong(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"DEPTHWISE_CONV_2D gives nonsense .*exclude: \[DEPTHWISE_CONV_2D\]"):
        convert(tmp_path, "dynamic", granularity="tensor")
    file = convert(tmp_path, "dynamic", granularity="tensor", exclude=["DEPTHWISE_CONV_2D"])
    float32 = Runner(workshop().tflite("float32")).run(X[:200])
    assert sqnr_db(float32, Runner(file).run(X[:200])) > 20


def test_a_recipe_file_is_read_once_and_makes_the_file_it_came_from(tmp_path: Path) -> None:
    first = convert(tmp_path, "int8", exclude=["FULLY_CONNECTED"]).read_bytes()
    brought = tmp_path / "mine.json"
    brought.write_bytes((tmp_path / QUANTIZER_RECIPE).read_bytes())
    step = parse_step({"int8": {"recipe_file": str(brought)}})
    brought.unlink()
    assert Step.model_validate(step.model_dump(mode="json")) == step  # where it is used there is no such file
    assert convert(tmp_path, "int8", **step.options).read_bytes() == first
    with pytest.raises(ConfigError, match=r"needs calibration samples.*Give it to int8"):
        check_recipe(step.options["recipe"], calibrated=False, where="recipes.x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a list of rules"),
        ('[{"regex": ".*"}]', "rule 1 has no 'operation'"),
        ('[{"regex": "(", "operation": "*", "algorithm_key": "OCTAV", "op_config": {}}]', r"regex '\(' is none"),
        ('[{"regex": ".*", "operation": "*", "algorithm_key": "OCTAV", "op_config": {}, "x": 1}]', "unknown key 'x'"),
    ],
)
def test_a_recipe_file_that_is_none_is_refused_before_anything_runs(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ValueError, match=rf"r\.json: .*{message}"):
        parse_step({"int8": {"recipe_file": str(tmp_path / "r.json")}})
    with pytest.raises(ValueError, match="leave exclude out"):
        parse_step({"int8": {"recipe_file": "r.json", "exclude": ["a"]}})
    rule = {"regex": ".*", "operation": "CONV_9D", "algorithm_key": "OCTAV", "op_config": {}}
    with pytest.raises(ConfigError, match="litert-quantizer refuses it"):
        check_recipe(json.dumps([rule]), calibrated=True, where="recipes.x")


def test_a_tflite_source_takes_the_same_options() -> None:
    step = parse_step({"dynamic": {"exclude": ["CONV_2D"], "algorithm": "mse"}})
    assert step.scheme.tflite_obstacle(step.parsed()) == ""
    found = from_tflite.dynamic(workshop().tflite("float32"), step.parsed(), X[:0])  # type: ignore[arg-type]
    assert found.recipe
