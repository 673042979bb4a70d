"""Intervals for all variants together: on simulated variants whose true drop is known, and against published values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.evaluate.simultaneous import (
    bonferroni,
    critical_value,
    enough_samples,
    level_of,
    separate,
    widened,
    worst_class,
    worst_of,
)
from litemill.evaluate.statistics import paired_proportion_difference
from litemill.evidence.base import Estimate

SAMPLES, RIGHT, LIMIT = 1000, 0.9, 0.02
GAINED = 0.1
"""Share of the baseline's mistakes that a variant happens to get right."""


class Drawn(NamedTuple):
    """One simulated run: whether each model is right, `[samples]` and `[samples, variants]`."""

    baseline: NDArray[np.bool_]
    variants: NDArray[np.bool_]


def runs(count: int, drops: NDArray[np.float64], *, alike: float, seed: int) -> Iterator[Drawn]:
    """Test splits of variants with these true drops; a share of their luck is common to all of them."""
    rng = np.random.default_rng(seed)
    lost = (drops + (1 - RIGHT) * GAINED) / RIGHT
    for _ in range(count):
        baseline = rng.random(SAMPLES) < RIGHT
        own, common = rng.random((SAMPLES, len(drops))), rng.random((SAMPLES, 1))
        luck = np.where(rng.random((SAMPLES, len(drops))) < alike, common, own)
        yield Drawn(baseline, np.where(baseline[:, None], luck >= lost, luck < GAINED))


def ships(run: Drawn, order: NDArray[np.int64], critical: float) -> int | None:
    """The first variant, in the order of their sizes, whose whole interval keeps the limit."""
    level = level_of(critical)
    keeps = (
        int(at) for at in order if paired_proportion_difference(run.baseline, run.variants[:, at], level).ci[1] <= LIMIT
    )
    return next(keeps, None)


def together(run: Drawn) -> float:
    right = run.variants.astype(float)
    return critical_value(run.baseline[:, None] - right, right.shape[1], 0.95)


def wrong(count: int, drops: NDArray[np.float64], *, alike: float) -> tuple[float, float]:
    """Share of runs that ship a variant which breaks the limit on fresh data: by separate intervals, and together."""
    order = np.argsort(-drops, kind="stable")  # the smallest files are those that lost most
    shipped = [
        (ships(run, order, separate(0.95)), ships(run, order, together(run)))
        for run in runs(count, drops, alike=alike, seed=len(drops))
    ]
    breaks = [[one is not None and bool(drops[one] > LIMIT) for one in pair] for pair in shipped]
    alone, both = np.mean(breaks, axis=0)
    return float(alone), float(both)


@pytest.mark.parametrize(("variants", "count", "alike"), [(5, 400, 0.0), (50, 100, 0.0)])
def test_shipped_variants_break_the_budget_no_more_often_than_the_level_allows(
    variants: int, count: int, alike: float
) -> None:
    """Every variant breaks the limit by a hair: the worst case. Three standard errors of the simulation are allowed."""
    alone, both = wrong(count, np.full(variants, LIMIT + 1e-4), alike=alike)
    assert both <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)
    assert alone > (0.4 if variants == 50 else 0.07), "the separate intervals would do, so this shows nothing"


@pytest.mark.parametrize("variants", [5, 50])
def test_good_variants_ship_all_the_same(variants: int) -> None:
    """Half of them lose nothing, the others twice the limit: a good one ships nearly always, a bad one hardly ever."""
    drops = np.where(np.arange(variants) % 2, 2 * LIMIT, 0.0)
    order = np.argsort(-drops, kind="stable")
    found = [ships(run, order, together(run)) for run in runs(30, drops, alike=0.5, seed=1)]
    assert sum(one is None for one in found) <= 2
    assert sum(one is not None and drops[one] > LIMIT for one in found) <= 2


def test_the_critical_value_lies_between_one_interval_and_bonferroni() -> None:
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(4000, 20))
    # Šidák's value for 20 independent statistics: Φ⁻¹((1 + 0.95^(1/20)) / 2) = 3.016
    assert critical_value(apart, 20, 0.95) == pytest.approx(3.016, abs=0.04)
    same = np.repeat(apart[:, :1], 20, axis=1)
    assert critical_value(same, 20, 0.95) == pytest.approx(1.96, abs=0.04)
    assert separate(0.95) == pytest.approx(1.95996, abs=1e-4)
    assert bonferroni(20, 0.95) == pytest.approx(3.0233, abs=1e-3)
    assert critical_value(np.zeros((10, 3)), 3, 0.95) == separate(0.95)
    assert critical_value(apart, 1, 0.9) == separate(0.9)


def test_intervals_are_widened_as_the_law_asks_for() -> None:
    found = Estimate(value=1.0, ci=(0.9, 1.3))
    assert widened(found, separate(0.95)).ci == pytest.approx((0.9, 1.3))
    assert widened(found, 2 * separate(0.95)).ci == pytest.approx((0.8, 1.6))
    few = widened(found, 2.5758, blocks=6)  # Student's t with 5 degrees: 4.032 over 2.571
    assert few.ci[1] == pytest.approx(1 + 0.3 * 4.032 / 2.571, abs=1e-3)


def test_the_worst_class_is_found_and_its_interval_holds_what_every_class_may_have_lost() -> None:
    labels = np.repeat([0, 1, 2], [500, 500, 20])
    better = np.ones(1020, bool)
    worse = better.copy()
    worse[500:550] = False  # class 1 loses a tenth
    index, drop = worst_class(better, worse, labels, separate(0.95))
    assert (index, drop.value) == (1, pytest.approx(0.1))
    # of the 20 samples of class 2 none is lost, which says little: Wilson's bound for 20 of 20 is 0.161
    assert drop.ci[1] == pytest.approx(0.161, abs=2e-3)
    assert 0.06 < drop.ci[0] < 0.08
    with pytest.raises(ValueError, match="no sample has a class"):
        worst_class(better, worse, np.full(1020, -1), 2.0)


def test_the_worst_of_figures_leaves_out_classes_that_nothing_tells_of() -> None:
    values, errors = np.array([0.01, np.nan, 0.03]), np.array([0.02, np.nan, 0.005])
    worst = worst_of(values, errors, 2.0)
    assert worst is not None
    assert (worst[0], worst[1].value, worst[1].ci[1]) == (2, 0.03, pytest.approx(0.05))
    assert worst_of(np.full(2, np.nan), np.full(2, np.nan), 2.0) is None


def test_so_many_samples_do_settle_it() -> None:
    """The rule is tried: with the number it names, and the same shares, the interval keeps the limit."""
    better = np.ones(1000, bool)
    worse = np.arange(1000) >= 12
    found = paired_proportion_difference(better, worse)
    assert found.ci[0] < 0.015 < found.ci[1]
    needed = enough_samples(1000, found, 0.015)
    assert needed is not None and 2_000 < needed < 20_000
    times = math.ceil(needed / 1000)
    assert paired_proportion_difference(np.tile(better, times), np.tile(worse, times)).ci[1] <= 0.0152
    assert enough_samples(1000, Estimate(value=0.01, ci=(0.0, 0.02)), 0.01) is None
