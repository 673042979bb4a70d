"""What is read from a `.tflite` against what is known about the model it came from."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from litemill.errors import InputError
from litemill.flatbuffer import measure_sizes, read_graph, read_model
from litemill.flatbuffer.graph import report
from litemill.flatbuffer.reader import op_name, unpack
from tests.workshop import RECIPES, workshop


def test_ops_and_fused_activations_of_the_float_model() -> None:
    graph = read_graph(workshop().tflite("float32"))
    assert graph.ops == {
        "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "MAX_POOL_2D": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1
    }  # fmt: skip
    assert graph.fused_activations == {"RELU": 1, "RELU6": 1}
    assert graph.inputs[0].shape == [1, 8, 8, 1]
    assert graph.outputs[0].shape == [1, 10]


def test_quantization_of_inputs_is_read() -> None:
    (info,) = read_graph(workshop().tflite("int8")).inputs
    assert (info.dtype, info.zero_point) == ("int8", -128)
    assert info.scale == pytest.approx(1 / 255, rel=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_are_listed_by_the_op_that_uses_them_and_shapes_are_no_weights(recipe: str) -> None:
    weights = read_graph(workshop().tflite(recipe)).weights
    matrices = {weight.op: weight.shape for weight in weights if len(weight.shape) > 1}
    assert matrices == {"CONV_2D": [8, 3, 3, 1], "DEPTHWISE_CONV_2D": [1, 3, 3, 8], "FULLY_CONNECTED": [10, 128]}
    assert sum(len(weight.shape) == 1 for weight in weights) == 3


def test_zeros_and_distinct_values_are_those_of_the_weights(tmp_path: Path) -> None:
    from tests.workshop import convert_here, digits_cnn, keras, write_model

    model = digits_cnn(keras())
    kernel, bias = model.layers[-2].get_weights()
    kernel[:96] = 0
    kernel[96:] = np.resize([0.5, -0.25, 1.0], (32, 10))
    model.layers[-2].set_weights([kernel, bias])
    source = write_model(tmp_path / "model", model)
    for scheme in ("float32", "dynamic"):
        graph = read_graph(convert_here(source, scheme, [-1, 8, 8, 1], tmp_path / f"{scheme}.tflite"))
        dense = next(item for item in graph.weights if item.op == "FULLY_CONNECTED" and len(item.shape) == 2)
        assert (dense.sparsity, dense.distinct) == (0.75, 4), scheme
        assert graph.sparsity == pytest.approx(960 / (1280 + 72 + 72))


def test_a_dense_layer_whose_weights_have_no_shape_is_counted_by_its_input() -> None:
    # As in the float conversion of a quantization-aware model, whose weights are computed.
    model = read_model(workshop().tflite("float32"))
    (graph,), expected = model.subgraphs, report(model).macs
    (dense,) = [op for op in graph.operators if op_name(model, op) == "FULLY_CONNECTED"]
    graph.tensors[dense.inputs[1]].shape = None
    assert report(model).macs == expected


def test_sizes_are_in_order() -> None:
    sizes = measure_sizes(workshop().tflite("float32"))
    assert sizes.raw == workshop().tflite("float32").stat().st_size
    assert 0 < sizes.zstd < sizes.raw
    assert 0 < sizes.gzip < sizes.raw


def test_packed_values_are_unpacked_low_field_first() -> None:
    assert unpack(np.array([0x21, 0xF8], np.uint8), 4, signed=True).tolist() == [1, 2, -8, -1]
    assert unpack(np.array([0b11_10_01_00], np.uint8), 2, signed=True).tolist() == [0, 1, -2, -1]
    assert unpack(np.array([0xF8], np.uint8), 4, signed=False).tolist() == [8, 15]


def test_what_is_no_tflite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_graph(tmp_path / "missing.tflite")
    (tmp_path / "a.tflite").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match=r"is no \.tflite file"):
        read_graph(tmp_path / "a.tflite")


def test_damage_is_told_or_harmless_but_never_an_internal_error(tmp_path: Path) -> None:
    data = workshop().tflite("int8").read_bytes()
    rng, refused = random.Random(0), 0
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(8):
            broken[rng.randrange(8, len(broken))] = rng.randrange(256)
        (tmp_path / "m.tflite").write_bytes(bytes(broken[: rng.randrange(100, len(broken))]))
        try:
            read_model(tmp_path / "m.tflite")
        except InputError:
            refused += 1
    assert refused > 100
