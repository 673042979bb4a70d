"""A float `.tflite` rebuilt as Keras layers: it computes the same, converts back into the same ops, or says why not."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.compress.support import OPERATORS
from litemill.config.steps import parse_step
from litemill.convert import from_tflite
from litemill.errors import InputError
from litemill.flatbuffer import read_graph, read_model
from litemill.flatbuffer.reader import constant, op_name
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.likeness import relative_error
from litemill.models.peek import peek
from litemill.models.rebuild.batch_norm import restore
from litemill.models.rebuild.graph import Refused
from litemill.models.rebuild.model import rebuild
from litemill.models.rebuild.obstacle import obstacle
from litemill.models.rebuild.table import TABLE
from litemill.models.source import load_source, outputs_of_keras
from litemill.models.tflite import ends_of, outputs_of
from litemill.models.unpacked import unpacked
from litemill.slim.sharing import pack_shared
from tests.models.made_tflites import (
    MODELS,
    free_batch,
    functions,
    model_to_tflite,
    older,
    several_ends,
    to_tflite,
    transformer,
)

SAMPLES = 8
LAYERLESS = ("functions", "transformer", "free_transformer")
"""Files with functions that no Keras layer stands for: products of two tensors, GELU and the rest."""


def samples(path: Path, count: int = SAMPLES) -> np.ndarray:
    """Samples for the only input of a file: pixels, ids, or numbers around 1.5."""
    (info,) = read_graph(path).inputs
    rng = np.random.default_rng(4)
    shape = (count, *info.shape[1:])
    if info.dtype == "int32":
        return rng.integers(0, 30, shape).astype(np.int32)
    if info.dtype == "uint8":
        return rng.integers(0, 256, shape).astype(np.uint8)
    pixels = info.shape[1:] == [16, 16, 3]
    return (rng.uniform(0, 255, shape) if pixels else rng.uniform(1.0, 2.0, shape)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files by name."""
    folder = tmp_path_factory.mktemp("files")
    made = {name: model_to_tflite(make(), folder / f"{name}.tflite") for name, make in MODELS.items()}
    made["free_transformer"] = model_to_tflite(transformer(), folder / "free_transformer.tflite", batch=None)
    made["functions"] = to_tflite(functions, [((8, 8, 4), "float32")], folder / "functions.tflite")
    made["free_batch"] = to_tflite(free_batch, [((6, 4), "float32")], folder / "free_batch.tflite", batch=None)
    return made


def counted(path: Path) -> Counter[str]:
    """Ops by type; taking a constant off is adding another."""
    ops = Counter(read_graph(path).ops)
    ops["ADD"] += ops.pop("SUB", 0)
    return +ops


@pytest.mark.parametrize("name", [*MODELS, "functions", "free_transformer", "free_batch"])
def test_a_rebuilt_model_computes_the_same_and_converts_back_into_the_same_ops(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path, x = files[name], samples(files[name])
    expected = outputs_of(path, x)
    made = rebuild(path, batch_norm=name == "convolutional")
    assert relative_error(expected, outputs_of_keras(made.model, x)) < 1e-4
    kinds = {type(layer).__name__ for layer in made.model.layers}
    assert bool(kinds & OPERATORS) == (name in LAYERLESS), "what TFMOT cannot take comes only where there is no layer"
    tf_keras().models.clone_model(made.model)  # as every train-aware step does
    made.model.save(tmp_path / "again.keras")
    again = tf_keras().models.load_model(tmp_path / "again.keras", safe_mode=True)
    assert relative_error(expected, outputs_of_keras(again, x)) < 1e-4
    if "free" not in name:  # whose file computes shapes, too
        without = Counter(TRANSPOSE=1) if name == "channels_first" else Counter()  # in front of its mean
        assert counted(model_to_tflite(again, tmp_path / "again.tflite")) == counted(path) - without


def test_without_batch_norm_a_model_computes_the_same(files: dict[str, Path]) -> None:
    path, x = files["convolutional"], samples(files["convolutional"])
    made = rebuild(path)
    assert made.norms == [] and not any("BatchNorm" in type(layer).__name__ for layer in made.model.layers)
    assert relative_error(outputs_of(path, x), outputs_of_keras(made.model, x)) < 1e-4


def test_the_files_hold_every_op_of_the_table(files: dict[str, Path], tmp_path: Path) -> None:
    made = older(tmp_path)
    for name, path in made.items():
        x = np.random.default_rng(0).normal(0, 1, (SAMPLES, *read_graph(path).inputs[0].shape[1:])).astype(np.float32)
        assert relative_error(outputs_of(path, x), outputs_of_keras(rebuild(path).model, x)) < 1e-4, name
    seen = {op for path in [*files.values(), *made.values()] for op in read_graph(path).ops}
    assert set(TABLE) <= seen


def test_batch_norm_is_put_back_where_it_was_folded_and_changes_nothing(files: dict[str, Path]) -> None:
    path = files["convolutional"]
    x = samples(path, 64)
    made = rebuild(path, batch_norm=True)
    expected = outputs_of(path, x)
    assert relative_error(expected, outputs_of_keras(made.model, x)) < 1e-4, "before it has seen samples too"
    restore(made.model, made.norms, [x[:32], x[32:]])
    assert relative_error(expected, outputs_of_keras(made.model, x)) < 1e-4
    layers = {layer.name: layer for layer in made.model.layers}
    kinds = {name: type(layer).__name__ for name, layer in layers.items()}
    gates = [layers[name] for name in kinds if kinds[name] == "Conv2D" and layers[name].output_shape[1:3] == (1, 1)]
    assert len(gates) == 2 and all(layer.use_bias for layer in gates), "what attends to channels had none"
    assert len(made.norms) >= 6
    for norm in made.norms:
        seen = np.asarray(tf_keras().Model(made.model.inputs, norm.layer.input)(x))
        axes = tuple(range(seen.ndim - 1))
        np.testing.assert_allclose(norm.layer.moving_mean, seen.mean(axes), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(norm.layer.moving_variance, seen.var(axes), rtol=2e-2, atol=1e-3)
        if norm.before is not None:
            kernel = norm.before.get_weights()[0]
            fan = np.prod(kernel.shape[:2]) * (1 if "Depthwise" in type(norm.before).__name__ else kernel.shape[2])
            assert np.isclose(np.sqrt(np.mean(kernel**2)), np.sqrt(2 / fan), rtol=0.05)


def test_inputs_and_outputs_keep_their_names(tmp_path: Path) -> None:
    model = several_ends()
    model.export(str(tmp_path / "saved"))
    tf = tensorflow()
    specs = {
        name: tf.TensorSpec([1, *tensor.shape[1:]], name=name)
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
    }
    holder = tf.Module()
    holder.model = model

    def serve(**parts: Any) -> dict[str, Any]:
        return dict(zip(model.output_names, model([parts[name] for name in model.input_names]), strict=True))

    tf.saved_model.save(holder, str(tmp_path / "signed"), tf.function(serve).get_concrete_function(**specs))
    path = tmp_path / "ends.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "signed")).convert())
    made = rebuild(path).model
    assert set(made.input_names) == {"context", "picture"} and set(made.output_names) == {"place", "scores"}
    assert made.input_names == ends_of(path)[0] and made.output_names == ends_of(path)[1]


def test_transposes_that_undo_each_other_are_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    model = read_model(files["channels_first"])
    graph = model.subgraphs[0]
    names = [op_name(model, op) for op in graph.operators]
    first, last, mean = (graph.operators[at] for at in (0, names.index("TRANSPOSE", 1), names.index("MEAN")))
    for like, order in ((last, first.inputs[1]), (first, last.inputs[1])):
        tensor = copy.copy(graph.tensors[mean.inputs[0]])
        shape = list(tensor.shape)
        tensor.shape = np.array([shape[axis] for axis in constant(model, graph.tensors[order])], np.int32)
        tensor.name, tensor.shapeSignature = f"made of {like.inputs[0]}".encode(), None
        graph.tensors.append(tensor)
        made = copy.copy(last)
        made.inputs = np.array([mean.inputs[0], order], np.int32)
        made.outputs = np.array([len(graph.tensors) - 1], np.int32)
        graph.operators.insert(graph.operators.index(mean), made)
        mean.inputs = np.array([made.outputs[0], mean.inputs[1]], np.int32)
    path = tmp_path / "twice.tflite"
    path.write_bytes(pack_shared(model))
    x = samples(path)
    assert np.allclose(outputs_of(path, x), outputs_of(files["channels_first"], x))
    rebuilt = rebuild(path).model
    assert sum(type(layer).__name__ == "Permute" for layer in rebuilt.layers) <= 2, "the file has four"
    assert relative_error(outputs_of(path, x), outputs_of_keras(rebuilt, x)) < 1e-4


def test_a_resnet_of_pytorchs_is_rebuilt_with_its_batch_norm() -> None:
    path = Path(__file__).parent / "pytorch/digits_resnet.tflite"
    x = np.random.default_rng(0).uniform(0, 1, (32, *read_graph(path).inputs[0].shape[1:])).astype(np.float32)
    assert x.shape[1:] == (1, 8, 8), "its samples are in PyTorch's layout"
    made = rebuild(path, batch_norm=True)
    restore(made.model, made.norms, [x])
    assert len(made.norms) == 7, "one for each BatchNorm2d of the module"
    assert relative_error(outputs_of(path, x), outputs_of_keras(made.model, x)) < 1e-4


def answer(build: Any, path: Path) -> str:
    """Why what a function converts to cannot be rebuilt."""
    build(path)
    if found := obstacle(read_model(path)):
        return found
    with pytest.raises(Refused) as error:
        rebuild(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_rebuilt_is_named_with_its_place(tmp_path: Path) -> None:
    k, tf = tf_keras(), tensorflow()
    n = k.layers
    lstm = k.Sequential([n.Input((6, 2)), n.LSTM(4), n.Dense(2)])
    found = answer(lambda path: model_to_tflite(lstm, path), tmp_path / "lstm.tflite")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in found and found.startswith("op ") and "clips its cell" in found
    gru = k.Sequential([n.Input((6, 2)), n.GRU(4), n.Dense(2)])
    found = answer(lambda path: model_to_tflite(gru, path), tmp_path / "gru.tflite")
    assert "WHILE" in found and "runs another subgraph" in found
    shape = [((4, 6), "float32")]
    flipped = answer(lambda path: to_tflite(lambda x: tf.reverse(x, [1]), shape, path), tmp_path / "reverse.tflite")
    assert "REVERSE_V2" in flipped and "has no Keras layer that converts back into it" in flipped
    mixed = answer(lambda path: to_tflite(lambda x: tf.reshape(x, [2, 12]), shape, path), tmp_path / "rows.tflite")
    assert "RESHAPE" in mixed and "[2, 12]" in mixed and "the batch is not an axis of its own" in mixed
    whole = answer(lambda path: to_tflite(lambda x: tf.reduce_sum(x, 0), shape, path), tmp_path / "sum.tflite")
    assert "SUM" in whole and "reduces over the batch" in whole
    custom = read_model(tmp_path / "reverse.tflite")
    code = custom.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = b"Detect"
    assert "op 0 Detect" in obstacle(custom) and "is a custom op" in obstacle(custom)


def test_float16_and_quantized_files_are_float_again(files: dict[str, Path], tmp_path: Path) -> None:
    path = files["convolutional"]
    x, scheme = samples(path, 32), {name: parse_step(name).parsed() for name in ("float16", "dynamic", "int8")}
    expected = outputs_of(path, x)
    half = tmp_path / "half.tflite"
    half.write_bytes(from_tflite.float16(path, scheme["float16"], x).data)  # type: ignore[arg-type]
    source = load_source(half)
    assert "float16 weights" in source.notes[0] and source.facts.only_graph == ""
    assert relative_error(outputs_of(half, x), source.predict(x)) < 1e-4
    source.export(tmp_path / "float.tflite")
    assert {weight.dtype for weight in read_graph(tmp_path / "float.tflite").weights} == {"float32"}
    assert read_graph(tmp_path / "float.tflite").ops == read_graph(path).ops
    assert relative_error(outputs_of(half, x), outputs_of_keras(rebuild(tmp_path / "float.tflite").model, x)) < 1e-4
    for name, convert in (("dynamic", from_tflite.dynamic), ("int8", from_tflite.int8)):
        rounded = tmp_path / f"{name}.tflite"
        rounded.write_bytes(convert(path, scheme[name], x).data)  # type: ignore[arg-type,operator]
        with pytest.raises(InputError, match=r"is quantized already .*model\.from_quantized: true"):
            peek(rounded)
        source = load_source(rounded, from_quantized=True)
        assert source.facts.quantized and source.facts.input_dtypes == ("float32",)
        assert "rounded already" in source.notes[0] and "int8 weights" in source.notes[0]
        found = source.predict(x)
        assert relative_error(expected, found) > 0 and np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.9, name
        source.export(tmp_path / "float.tflite")
        assert relative_error(found, outputs_of_keras(rebuild(tmp_path / "float.tflite").model, x)) < 1e-4


def test_weights_in_blocks_are_refused_before_any_compute(tmp_path: Path) -> None:
    layers = tf_keras().layers
    path = model_to_tflite(tf_keras().Sequential([layers.Input((64,)), layers.Dense(32)]), tmp_path / "dense.tflite")
    options = parse_step({"dynamic": {"bits": 4, "granularity": "block32"}}).parsed()
    blocks = tmp_path / "blocks.tflite"
    blocks.write_bytes(from_tflite.dynamic(path, options, np.empty(0, np.float32)).data)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"is scaled in blocks, which cannot be taken as float32\. Give the float32"):
        peek(blocks, from_quantized=True)


def test_a_file_that_is_float_stays_as_it_is(files: dict[str, Path]) -> None:
    data = files["transformer"].read_bytes()
    assert unpacked(data, where="") is data
