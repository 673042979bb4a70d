"""Parity in `variant.json`: what it says is what Keras and LiteRT answer for the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from litemill.config.data_kinds import Kernels
from litemill.convert.parity import compare, parity_samples
from litemill.runtime import Runner
from litemill.tasks import decisions
from tests.workshop import RECIPES, digits, workshop

TEST = digits()[0][1200:]
SAMPLES = 128


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_variant_is_compared_with_keras_and_float32_on_both_kernel_sets(recipe: str) -> None:
    rows = workshop().manifests[recipe].parity
    against = ["keras"] if recipe == "float32" else ["keras", "float32"]
    assert [(row.kernels, row.against) for row in rows] == [
        (kernels, reference) for kernels in ("xnnpack", "reference") for reference in against
    ]
    assert all(row.samples == SAMPLES and 0 <= row.mean_error <= row.max_error for row in rows)
    assert all(row.agreement is not None and row.agreement > 0.95 for row in rows)


def test_the_baseline_is_keras_but_for_float_rounding_and_int8_is_not() -> None:
    float32, int8 = (workshop().manifests[recipe].parity[0] for recipe in ("float32", "int8"))
    assert float32.max_error < 1e-5 < int8.max_error
    assert float32.agreement == 1


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_the_errors_are_those_of_the_outputs_on_samples_spread_over_the_test_split(kernels: Kernels) -> None:
    shop = workshop()
    x = TEST[np.linspace(0, len(TEST) - 1, SAMPLES, dtype=int)]
    expected = shop.keras.predict(x, verbose=0)
    found = Runner(shop.tflite("int8"), kernels=kernels).run(x)
    (row,) = [row for row in shop.manifests["int8"].parity if (row.kernels, row.against) == (kernels, "keras")]
    errors = np.abs(found - expected) / np.ptp(expected)
    assert (row.max_error, row.mean_error) == (pytest.approx(errors.max(), 1e-4), pytest.approx(errors.mean(), 1e-4))
    assert row.agreement == np.mean(found.argmax(1) == expected.argmax(1))


def test_errors_are_relative_and_classes_only_where_the_task_has_them() -> None:
    expected = np.array([[0.001, 0.003], [0.002, 0.001]], np.float32)
    found = expected[:, ::-1]
    row = compare(found, expected, "xnnpack", "keras", decisions("classification"))
    assert (row.agreement, row.max_error, row.mean_error) == (0, pytest.approx(1), pytest.approx(0.75))
    assert compare(found, expected, "xnnpack", "keras", decisions("regression")).agreement is None
    broken = compare(np.full_like(expected, np.nan), expected, "xnnpack", "keras", decisions("regression"))
    assert np.isfinite(broken.max_error)
    assert broken.mean_error > 1e30
    scores = np.array([[-0.4], [0.4], [0.6]], np.float32)
    for output_is, cut in (("logits", [0, 1, 1]), ("probabilities", [0, 0, 1])):
        decide = decisions("binary", output_is)
        assert decide is not None and decide(scores).tolist() == cut


def test_a_split_smaller_than_the_samples_wanted_is_taken_whole() -> None:
    assert np.array_equal(parity_samples(TEST[:10], workshop().tflite("int8")), TEST[:10])
