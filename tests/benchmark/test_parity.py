"""Parity of outputs: relative to their spread, strict about what is not a number."""

import numpy as np
import pytest

from litemill.benchmark.parity import compare_outputs

EXPECTED = np.array([[0.0, 10.0], [10.0, 0.0]], np.float32)


@pytest.mark.parametrize(("error", "ok"), [(0.4, True), (0.6, False)])
def test_the_tolerance_is_a_fraction_of_the_spread(error: float, ok: bool) -> None:
    for factor in (1.0, 1e-4, 1e4):
        found = compare_outputs(
            (EXPECTED + error) * np.float32(factor), EXPECTED * np.float32(factor), reference="r", tolerance=0.05
        )
        assert found.max_error == pytest.approx(error / 10, rel=1e-4)
        assert (found.ok, found.agreement, found.samples) == (ok, 1.0, 2)


def test_a_swapped_answer_is_a_disagreement() -> None:
    found = compare_outputs(EXPECTED[::-1].copy(), EXPECTED, reference="r", tolerance=0.05)
    assert (found.ok, found.agreement, found.max_error) == (False, 0.0, 1.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_never_pass(wrong: float) -> None:
    found = compare_outputs(np.full_like(EXPECTED, wrong), EXPECTED, reference="r", tolerance=1e9)
    assert not found.ok
    assert "NaN" not in found.model_dump_json() and "Infinity" not in found.model_dump_json()


def test_outputs_of_another_shape_never_pass() -> None:
    assert not compare_outputs(EXPECTED[:1], EXPECTED, reference="r", tolerance=1e9).ok
