"""Intervals of paired differences: published values, and coverage on simulated data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.evaluate.statistics import paired_bootstrap_difference, paired_proportion_difference


def table(both: int, only_first: int, only_second: int, neither: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    counts = [both, only_first, only_second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_altmans_worked_example_of_method_10() -> None:
    # Altman et al., Statistics with Confidence (2000), table 6.2: difference 0.122, interval 0.011 to 0.226.
    found = paired_proportion_difference(*table(14, 5, 0, 22))
    assert (found.value, *found.ci) == pytest.approx((0.122, 0.011, 0.226), abs=5e-4)


def test_the_interval_mirrors_when_the_models_are_swapped() -> None:
    first, second = table(80, 12, 3, 5)
    one, other = paired_proportion_difference(first, second), paired_proportion_difference(second, first)
    assert one.value == -other.value
    assert one.ci == pytest.approx((-other.ci[1], -other.ci[0]))


def test_no_disagreement_still_has_an_interval() -> None:
    found = paired_proportion_difference(*table(9, 0, 0, 1))
    assert found.value == 0
    assert found.ci[0] < 0 < found.ci[1]


def test_every_sample_right_under_both() -> None:
    found = paired_proportion_difference(*table(100, 0, 0, 0))
    assert found.ci == pytest.approx((-0.037, 0.037), abs=1e-3)


def test_pairing_narrows_the_interval() -> None:
    together = paired_proportion_difference(*table(85, 5, 0, 10))
    apart = paired_proportion_difference(*table(76, 14, 9, 1))
    assert together.value == pytest.approx(apart.value)
    assert together.ci[1] - together.ci[0] < 0.7 * (apart.ci[1] - apart.ci[0])


def test_the_interval_covers_the_truth_in_95_of_100_simulations() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        first = rng.random(200) < 0.9
        second = np.where(rng.random(200) < 0.1, rng.random(200) < 0.5, first)
        low, high = paired_proportion_difference(first, second).ci
        covered.append(low <= 0.9 - (0.9 * 0.9 + 0.1 * 0.5) <= high)
    assert 0.93 <= np.mean(covered) <= 0.985


def test_bootstrap_agrees_with_the_normal_theory_of_a_mean() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(1.0, 1.0, 400)
    second = first - 0.2 + rng.normal(0, 0.5, 400)
    found = paired_bootstrap_difference(lambda at: first[at].mean(), lambda at: second[at].mean(), 400)
    spread = 1.96 * (first - second).std() / 20
    assert found.value == pytest.approx((first - second).mean())
    assert found.ci == pytest.approx((found.value - spread, found.value + spread), abs=0.01)


def test_bootstrap_of_identical_outcomes_is_exact() -> None:
    values = np.arange(10.0)
    found = paired_bootstrap_difference(lambda at: values[at].mean(), lambda at: values[at].mean(), 10)
    assert (found.value, found.ci) == (0, (0, 0))


@pytest.mark.parametrize("lengths", [(0, 0), (3, 4)])
def test_unpaired_samples_are_refused(lengths: tuple[int, int]) -> None:
    first, second = (np.ones(length, bool) for length in lengths)
    with pytest.raises(ValueError, match="paired samples of the same number"):
        paired_proportion_difference(first, second)


def test_a_bootstrap_needs_samples() -> None:
    with pytest.raises(ValueError, match="there are none"):
        paired_bootstrap_difference(lambda at: 0.0, lambda at: 0.0, 0)
