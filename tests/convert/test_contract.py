"""Checks of calibration samples and of what came out of a conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from litemill.config.steps import Step
from litemill.convert.calibration import check_calibration
from litemill.convert.contract import check_outputs, check_variant
from litemill.errors import StepFailed
from tests.workshop import Array, digits, workshop

SHAPE = [-1, 8, 8, 1]


def with_value(value: float) -> Callable[[Array], Array]:
    def spoil(x: Array) -> Array:
        x = x.copy()
        x[3, 2, 1] = value
        return x

    return spoil


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda x: x[:0], "the calibration split is empty"),
        (with_value(np.inf), "1 of 100 calibration samples hold NaN or Inf, the first at index 3"),
        (with_value(np.nan), "1 of 100 calibration samples hold NaN or Inf, the first at index 3"),
        (lambda x: x * 0, "every calibration value is 0"),
        (lambda x: x[:, :4], "a calibration sample has shape [4, 8, 1], the model takes [8, 8, 1]"),
    ],
    ids=["empty", "inf", "nan", "zero", "shape"],
)
def test_samples_that_cannot_calibrate_are_refused(spoil: Callable[[Array], Array], reason: str) -> None:
    with pytest.raises(StepFailed) as raised:
        check_calibration(spoil(digits()[0][:100]), SHAPE, where="x.npy")
    assert reason in str(raised.value)
    assert raised.value.fix


def test_good_samples_pass() -> None:
    check_calibration(digits()[0][:32], SHAPE, where="x.npy")


@pytest.mark.parametrize(
    ("recipe", "asked", "reason"),
    [
        ("int8", Step(name="int8", options={"io": "uint8"}), "is int8, uint8 was asked"),
        ("float32", Step(name="int8"), "is float32, int8 was asked"),
        ("int16x8", Step(name="int16x8", options={"io": "float32"}), "is int16, float32 was asked"),
    ],
)
def test_a_variant_of_another_dtype_is_refused(recipe: str, asked: Step, reason: str) -> None:
    with pytest.raises(StepFailed, match=reason):
        check_variant(workshop().tflite(recipe), asked, None)


def test_an_input_range_that_misses_the_data_is_refused() -> None:
    with pytest.raises(StepFailed, match=r"the input covers \[0, 1\], the calibration data \[-3, 3\]"):
        check_variant(workshop().tflite("int8"), Step(name="int8"), np.array([-3.0, 3.0]))


def edited(monkeypatch: pytest.MonkeyPatch, edit: Callable[[Any], None]) -> None:
    """Let the checks see an edited copy of what stands in the file."""
    from litemill.convert import contract
    from litemill.flatbuffer import read_model

    def read(path: Any) -> Any:
        model = read_model(path)
        edit(model.subgraphs[0].tensors)
        return model

    monkeypatch.setattr(contract, "read_model", read)


def test_a_scale_of_zero_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(tensors: Any) -> None:
        tensors[2].quantization.scale = np.zeros(1, np.float32)

    edited(monkeypatch, edit)
    with pytest.raises(StepFailed, match="has scale 0"):
        check_variant(workshop().tflite("int8"), Step(name="int8"), None)


def test_a_float_tensor_left_in_an_integer_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(tensors: Any) -> None:
        tensors[5].type = 0

    edited(monkeypatch, edit)
    with pytest.raises(StepFailed, match="1 float tensors left in a model that was to be integer only"):
        check_variant(workshop().tflite("int8"), Step(name="int8"), None)


def test_a_model_that_gives_the_same_for_every_sample_is_refused() -> None:
    varied = digits()[0][:20].reshape(20, -1)
    same = np.ones_like(varied)
    check_outputs(varied, varied, step=0.01, where="int8")
    check_outputs(same, same + 0.015 * varied, step=0.01, where="int8")
    with pytest.raises(StepFailed, match="int8: the converted model gives the same outputs for all of 20 calibration"):
        check_outputs(same, varied, step=0.01, where="int8")
