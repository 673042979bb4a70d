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
from litemill.convert.selection import left_float
from litemill.convert.sensitivity import sqnr_db
from litemill.errors import StepFailed
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
    with pytest.raises(ValueError, match="granularity"):
        parse_step({"weights-int8": {"granularity": "block32"}})


def test_a_tflite_source_takes_the_same_options() -> None:
    step = parse_step({"dynamic": {"exclude": ["CONV_2D"], "algorithm": "mse"}})
    assert step.scheme.tflite_obstacle(step.parsed()) == ""
    found = from_tflite.dynamic(workshop().tflite("float32"), step.parsed(), X[:0])  # type: ignore[arg-type]
    assert found.recipe
