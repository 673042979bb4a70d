"""Sensitivity by putting one quantized op into the float graph: what TensorFlow's own selective quantization gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.layout import SAVED_MODEL, X
from litemill.convert.sensitivity import PERFECT_DB, float_counterpart, rank_layers, run, sqnr_db
from litemill.flatbuffer.reader import DTYPE_NAMES, parse_model
from tests.workshop import RECIPES, convert_here, digits, workshop
from tests.zoo import tflite

SAMPLES = digits()[0][:64]


@pytest.mark.e2e
def test_one_layer_alone_is_what_tensorflow_s_debugger_converts(tmp_path: Path) -> None:
    from litemill.config.schemes import Int8Options
    from litemill.convert.from_saved_model import float_model, int8_converter
    from litemill.convert.mixed import SelectiveQuantizer

    convert_here(workshop().model, "float32", [-1, 8, 8, 1], tmp_path / "float32.tflite")
    static = workshop().model / "static"
    quantizer = SelectiveQuantizer(int8_converter(static, Int8Options(io="float32"), SAMPLES), SAMPLES)
    reference = float_model(static)
    found = rank_layers(quantizer.quantize(set()), reference, SAMPLES)
    assert [layer.op for layer in found].count("CONV_2D") == 1
    assert len(found) == 6
    every, expected = {layer.name for layer in found}, run(reference, SAMPLES)
    for layer in found[:3]:
        alone = quantizer.quantize(every - {layer.name})
        assert layer.sqnr_db == pytest.approx(sqnr_db(expected, run(alone, SAMPLES)), abs=0.01)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name.startswith("int8")])
def test_every_int8_variant_lists_its_layers_worst_first(recipe: str) -> None:
    layers = workshop().manifests[recipe].sensitivity
    assert {layer.op for layer in layers} == {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX")
    }
    assert [layer.sqnr_db for layer in layers] == sorted(layer.sqnr_db for layer in layers)
    assert all(10 < layer.sqnr_db < PERFECT_DB for layer in layers)


def test_what_per_tensor_weights_cost_shows_in_their_layers() -> None:
    channel, tensor = (workshop().manifests[name].sensitivity for name in ("int8", "int8-per-tensor"))
    noise = [{layer.op: layer.sqnr_db for layer in found} for found in (channel, tensor)]
    assert noise[1]["DEPTHWISE_CONV_2D"] < noise[0]["DEPTHWISE_CONV_2D"]
    assert noise[1]["SOFTMAX"] == pytest.approx(noise[0]["SOFTMAX"], abs=6)


def test_branches_and_files_without_common_names() -> None:
    rng = np.random.default_rng(1)
    quantized, x = tflite("resnet", "int8").read_bytes(), rng.random((8, 16, 16, 3), np.float32)
    found = rank_layers(quantized, tflite("resnet", "float32").read_bytes(), x)
    assert [layer.op for layer in found].count("ADD") == 3
    assert rank_layers(quantized, tflite("dense", "float32").read_bytes(), rng.random((8, 64), np.float32)) == []


@pytest.mark.e2e
def test_a_model_trained_for_int8_is_compared_without_its_rounding(
    step: Callable[[str], Path], digits_dataset: Path, tmp_path: Path
) -> None:
    from litemill.config.schemes import Int8Options
    from litemill.convert.from_saved_model import int8

    convert_here(step("qat"), "float32", [-1, 8, 8, 1], tmp_path / "plain.tflite")
    plain = (tmp_path / "plain.tflite").read_bytes()
    static, samples = step("qat") / "static", np.load(digits_dataset / "calibration" / X)
    counterpart = float_counterpart(plain)
    dtypes = {DTYPE_NAMES[tensor.type] for tensor in parse_model(plain, where="").subgraphs[0].tensors}
    assert "uint8" in dtypes
    ops = parse_model(counterpart, where="").subgraphs[0].operators
    assert len(ops) == 8
    assert np.mean(run(counterpart, samples).argmax(1) == run(plain, samples).argmax(1)) > 0.95
    assert len(rank_layers(int8(static, Int8Options(), samples).data, counterpart, samples)) == 8
    assert (step("qat") / SAVED_MODEL).is_dir()
