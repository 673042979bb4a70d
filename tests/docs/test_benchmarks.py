"""The tables of what things cost are what the benchmarks measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.cases import CASES, Case, case_of
from benchmarks.record import Figure, Interval, Result
from benchmarks.steps import Step, covered, summed
from benchmarks.table import BLOCK, PAGES, line_of, rewritten, summary


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_say_what_was_measured(page: str) -> None:
    """`make bench` writes them, and so does `make docs`."""
    text = (record.ROOT / page).read_text(encoding="utf-8")
    assert BLOCK.search(text), f"{page} has no table of the benchmarks"
    assert rewritten(text) == text, f"{page} is out of date: run `make docs`"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_row_was_measured_names_machine_and_commit_and_stands_in_the_table(case: Case) -> None:
    result = record.read(case.name)
    assert result is not None, f"no result: run `make bench CASE={case.name}`"
    assert result.case == case.name
    assert result.machine.cores > 0 and result.machine.cpu
    assert re.fullmatch(r"[0-9a-f]{12}(\+changes)?", result.commit)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result.date)
    assert all(values for values in result.samples.values()), "every figure has the samples behind it"
    for figure in result.figures:
        low, high = figure.found.low, figure.found.high
        assert (low is None) == (high is None)
        assert low is None or high is None or low <= figure.found.value <= high
        assert line_of(figure) in summary()


def test_nothing_else_is_kept_as_a_result_of_a_case() -> None:
    kept = {path.stem for path in record.RESULTS.glob("*.json")} - {"accuracy"}
    assert kept <= {case.name for case in CASES}


def test_a_ratio_is_that_of_pairs_and_its_interval_holds_the_true_one() -> None:
    theirs = [100.0, 120.0, 80.0, 90.0]
    found = record.ratio([0.3 * one for one in theirs], theirs)
    assert found.value == pytest.approx(0.3) and found.low == pytest.approx(0.3)
    noisy = record.ratio([31.0, 35.0, 25.0, 26.5], theirs)
    assert noisy.low and noisy.high and noisy.low < 0.3 < noisy.high
    one = record.ratio([3.0], [10.0])
    assert one.value == pytest.approx(0.3) and one.low is one.high is None, "one pair has no interval"
    with pytest.raises(ValueError, match="nothing"):
        record.ratio([], [])


def test_the_interval_of_a_median_holds_it_in_at_least_95_of_100_cases() -> None:
    found = record.median([5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    assert (found.value, found.low, found.high) == (3.5, 1.0, 6.0), "of six samples only the whole range does"
    with pytest.raises(ValueError, match="needs six"):
        record.median([1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("sense", "goal", "value", "met"),
    [
        ("at most", 0.35, 0.35, True),
        ("at most", 0.35, 0.36, False),
        ("below", 0.3, 0.3, False),
        ("at least", 5.0, 4.9, False),
        ("at least", 5.0, 5.0, True),
        ("within", 0.03, 0.98, True),
        ("within", 0.03, 1.04, False),
    ],
)
def test_a_goal_is_met_by_the_value_itself(sense: record.Sense, goal: float, value: float, met: bool) -> None:
    figure = Figure(name="x", found=Interval(value=value), goal=goal, sense=sense)
    assert figure.met == met
    assert ("missed" in line_of(figure)) == (not met)


def test_steps_that_run_beside_each_other_are_at_work_once() -> None:
    steps = [Step("a", 0, 4), Step("b", 1, 3), Step("c", 3, 6), Step("d", 8, 9)]
    assert (summed(steps), covered(steps)) == (10, 7)


def test_a_case_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="second-run"):
        case_of("secondrun")


def test_a_result_is_read_back_as_it_was_written_and_a_foreign_field_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was written by hand, or by another version, must not be half read."""
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    figure = Figure(name="of it", found=Interval(value=0.3, low=0.2, high=0.4), goal=0.35, sense="at most")
    result = Result(
        case="demo",
        figures=[figure],
        samples={"ours_s": [3.0]},
        commit="0" * 12,
        date=record.today(),
        seconds=1.0,
        machine=record.this_machine(),
    )
    path = record.write(result)
    assert record.read("demo") == result and record.read("sweep") is None
    assert "| ≤ 0.35 | 0.30 [0.20, 0.40] of it ✓ |" in summary()
    path.write_text(path.read_text(encoding="utf-8").replace('"case"', '"colour": 1, "case"', 1), encoding="utf-8")
    with pytest.raises(ValueError, match="colour"):
        record.read("demo")
