"""Runner: batches equal single invocations, quantization is LiteRT's own, broken files are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litemill.errors import InputError
from litemill.flatbuffer import read_graph
from litemill.runtime import Runner
from litemill.runtime.quantization import quantize
from tests.workshop import RECIPES, convert_here, digits, keras, workshop, write_model


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_batches_give_the_bits_of_single_invocations(recipe: str, kernels: str) -> None:
    path, x = workshop().tflite(recipe), digits()[0][:150]
    batched = Runner(path, batch=64, kernels=kernels)
    assert batched.batch == 64
    single = Runner(path, batch=1, threads=1, kernels=kernels).run(x)
    # For int4 weights XNNPACK has another float kernel for one sample: equal but for the last bits.
    exact = (recipe, kernels) != ("weights-int4", "xnnpack")
    assert np.array_equal(batched.run(x), single) if exact else np.allclose(batched.run(x), single, rtol=0, atol=1e-6)


def test_outputs_are_those_of_a_plain_litert_loop() -> None:
    path, x = workshop().tflite("int8"), digits()[0][:20]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale, zero), (out_scale, out_zero) = source["quantization"], sink["quantization"]
    expected = []
    for sample in x:
        interpreter.set_tensor(
            source["index"], np.int8(np.clip(np.round(sample / scale) + zero, -128, 127))[np.newaxis]
        )
        interpreter.invoke()
        expected.append((interpreter.get_tensor(sink["index"])[0].astype(float) - out_zero) * out_scale)
    assert np.allclose(Runner(path).run(x), expected, atol=1e-6)


@pytest.mark.parametrize("recipe", ["float32", "int8", "int16x8"])
def test_every_division_of_the_work_gives_the_same_bits(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, x = workshop().tflite(recipe), digits()[0][:300]
    expected = Runner(path, batch=1, threads=1).run(x)
    for batch, cores in ((None, 3), (7, 4), (299, 2), (300, 2), (1, 2)):
        assert np.array_equal(Runner(path, batch=batch, threads=cores).run(x), expected), (batch, cores)
    # Too large for a copy of the weights on each core: threads inside one interpreter.
    monkeypatch.setattr("litemill.runtime.runner.COPIES_BYTES", 1)
    assert np.array_equal(Runner(path, threads=2).run(x), expected)


def test_no_state_goes_from_one_sample_to_the_next(tmp_path: Path) -> None:
    k = keras()
    model = k.Sequential([k.Input((6, 3)), k.layers.LSTM(4), k.layers.Dense(2)])
    path = convert_here(write_model(tmp_path / "model", model), "float32", [-1, 6, 3], tmp_path / "m.tflite")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in read_graph(path).ops
    x = np.random.default_rng(0).normal(size=(20, 6, 3)).astype(np.float32)
    found = Runner(path, threads=2).run(x)
    assert np.allclose(found, model.predict(x, verbose=0), atol=1e-6)
    assert np.array_equal(Runner(path, threads=1).run(x[::-1])[::-1], found)


def test_memory_mapped_input_and_odd_counts(tmp_path: Path) -> None:
    x = digits()[0][:65]
    np.save(tmp_path / "x.npy", x)
    runner = Runner(workshop().tflite("float32"), batch=64)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(runner.run(mapped), runner.run(x))
    assert runner.run(x[:1]).shape == (1, 10)
    assert runner.run(x[:0]).shape == (0, 10)


def test_quantize_saturates_and_rounds_halves_away_from_zero() -> None:
    details = {"dtype": np.int8, "quantization": (0.5, 1)}
    values = np.array([0.25, -0.25, 0.24, 1000.0, -1000.0], np.float32)
    assert quantize(values, details).tolist() == [2, 0, 1, 127, -128]
    values = np.concatenate([np.arange(-300, 300) / 4, [0.0, -0.0], np.random.default_rng(0).normal(0, 60, 999)])
    expected = np.trunc(2 * values + np.copysign(0.5, values)) + 1
    found = quantize(values.astype(np.float32), details)
    assert np.array_equal(found, np.clip(expected, -128, 127).astype(np.int8))


def test_a_wrong_shape_and_a_broken_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a sample has shape \[4, 4, 1\], it takes \[8, 8, 1\]"):
        Runner(workshop().tflite("int8")).run(np.zeros((2, 4, 4, 1), np.float32))
    (tmp_path / "model.tflite").write_bytes(b"no model at all, but long enough")
    with pytest.raises(InputError, match=r"model\.tflite: LiteRT cannot run it"):
        Runner(tmp_path / "model.tflite")
