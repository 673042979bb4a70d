"""Statistics against simulated latencies whose truth is known."""

import numpy as np
import pytest

from litemill.benchmark.statistics import (
    P99_SAMPLES,
    PLACEMENT,
    Samples,
    compare,
    percentile,
    percentiles,
    ratio_of_medians,
)
from litemill.evidence.base import Estimate


def session(
    seed: int, ratio: float, episodes: int = 8, rounds: int = 12, calls: int = 10, placement: float = 0.01
) -> tuple[Samples, Samples]:
    """Two interleaved models as measured machines show them.

    The machine jumps between two clock speeds, where a model's memory is placed moves an episode's times, blocks and
    calls have log-normal noise, and some calls are interrupted.
    """
    generator = np.random.default_rng(seed)
    clock = np.where(np.cumsum(generator.random((episodes, rounds)) < 0.2, axis=1) % 2, 1.4, 1.0)[..., None]

    def times(median: float) -> Samples:
        placed = np.exp(generator.normal(0, placement, (episodes, 1, 1)))
        block = np.exp(generator.normal(0, 0.01, (episodes, rounds, 1)))
        noise = np.exp(generator.normal(0, 0.05, (episodes, rounds, calls)))
        spikes = np.where(generator.random((episodes, rounds, calls)) < 0.02, 15.0, 1.0)
        return np.asarray(median * clock * placed * block * noise * spikes)

    return times(ratio), times(1.0)


@pytest.mark.parametrize("placement", [0.0, 0.02])
def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says(placement: float) -> None:
    covered = []
    for seed in range(300):
        found = ratio_of_medians(*session(seed, ratio=1.2, placement=placement), seed=seed, placement=0.0)
        covered.append(found.ci[0] <= 1.2 <= found.ci[1])
    assert 0.92 <= np.mean(covered) <= 0.995


def test_the_ratio_is_known_well_on_a_machine_whose_times_are_not() -> None:
    """The clock jumps by 40 %, so a median time is known to tens of per cent and the ratio to a few."""
    variant, baseline = session(3, ratio=1.2)
    ratio, time = ratio_of_medians(variant, baseline), percentile(variant, 50)
    assert ratio.ci[1] - ratio.ci[0] < 0.06
    assert compare(ratio) == "slower"
    assert (time.ci[1] - time.ci[0]) / time.value > 0.2


def test_a_model_against_itself_is_seldom_called_different() -> None:
    answered = [compare(ratio_of_medians(*session(1000 + seed, ratio=1.0), seed=seed)) for seed in range(100)]
    assert answered.count("no difference shown") >= 90


def test_the_interval_allows_for_what_a_process_as_a_whole_is_worth() -> None:
    exact = np.ones((8, 4, 5))
    assert ratio_of_medians(exact, exact).ci == (1 - PLACEMENT, 1 + PLACEMENT)
    assert compare(ratio_of_medians(exact * 1.004, exact)) == "no difference shown"
    assert compare(ratio_of_medians(exact * 1.006, exact)) == "slower"


@pytest.mark.parametrize(("ratio", "answered"), [(0.9, "faster"), (1.1, "slower")])
def test_a_clear_difference_is_found(ratio: float, answered: str) -> None:
    assert [compare(ratio_of_medians(*session(seed, ratio))) for seed in range(20)] == [answered] * 20


def test_percentiles_of_a_known_sample() -> None:
    samples = np.arange(1, 102, dtype=np.float64).reshape(1, 1, -1).repeat(20, axis=0)
    assert percentile(samples, 50) == Estimate(value=51.0, ci=(51.0, 51.0))
    assert percentile(samples, 90).value == 91.0


def test_the_interval_of_a_median_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for seed in range(300):
        episode = np.exp(generator.normal(0, 0.05, (8, 1, 1)))
        found = percentile(episode * np.exp(generator.normal(0, 0.1, (8, 5, 10))), 50, seed=seed)
        covered.append(found.ci[0] <= 1.0 <= found.ci[1])
    assert 0.92 <= np.mean(covered) <= 0.995


def test_p99_needs_2000_samples() -> None:
    assert percentiles(P99_SAMPLES - 1) == [50, 90]
    assert percentiles(P99_SAMPLES) == [50, 90, 99]


def test_models_that_were_not_interleaved_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"rounds \(3, 2\) against \(2, 2\): they were not interleaved"):
        ratio_of_medians(np.ones((3, 2, 5)), np.ones((2, 2, 5)))


def test_one_episode_shows_nothing() -> None:
    found = ratio_of_medians(np.full((1, 9, 5), 1.0), np.full((1, 9, 7), 4.0))
    assert found.value == 0.25
    assert compare(found) == "no difference shown"


def test_the_same_samples_give_the_same_interval() -> None:
    variant, baseline = session(5, 1.1)
    assert ratio_of_medians(variant, baseline) == ratio_of_medians(variant, baseline)
