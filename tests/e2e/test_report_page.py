"""The report as a browser shows it: on a screen of 1280 pixels and on a phone. Screenshots are left where
LITEMILL_SCREENSHOTS says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from litemill.config.budget import Budget
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.outcome import Measurement
from litemill.report.comparison import write_comparison
from litemill.select import Candidate
from litemill.select.evidence_folders import read_candidates
from tests.browser import Browser, browser
from tests.made_evidence import FASHION, Made, write_bundle

pytestmark = pytest.mark.e2e

LONG = "a-recipe-with-a-rather-long-name-int8"
TRAINED = (
    Made("finetuned-int8", ("finetune", "int8"), 0.9199, 0.0019, 95_576, 78_765, 0.01, 0.369, 1.22),
    Made("cqat", ("cluster", "qat", "int8"), 0.9187, 0.0019, 97_100, 58_200, 0.02, 0.369, 1.22),
    Made(
        "a-recipe-with-a-rather-long-name-int8",
        ("prune", "cluster", "int8"),
        0.9170,
        0.0031,
        95_576,
        50_000,
        0.5,
        0.4,
        1.3,
    ),
)
OLD = Made("champion", ("qat", "int8"), 0.9180, 0.0020, 97_300, 80_100, 0.01, 0.371, 1.22)


def on_targets(one: Candidate) -> Candidate:
    """What two more targets tell of it."""
    if one.failure:
        return one
    size = one.variant.size_bytes
    refused = one.variant.scheme != "int8"
    npu = Measurement(
        recipe=one.recipe,
        target="ethos-u55-128",
        kind="estimated",
        status="failed" if refused else "ok",
        reason="no op of it runs on the NPU" if refused else "",
        latency_ms={} if refused else {"p50": size / 250_000},
        realised_bytes=one.variant.gzip_bytes,
        arena_bytes=51_808,
        delegated_fraction=1.0,
        actual_accelerator="ethos-u55-128",
    )
    micro = Measurement(recipe=one.recipe, target="tflm", realised_bytes=size, arena_bytes=55_984)
    return one.model_copy(update={"measurements": {**one.measurements, "ethos-u55-128": npu, "tflm": micro}})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    variants, evaluation, measurement = write_bundle(folder / "evidence", (*FASHION, *TRAINED, OLD))
    candidates = [on_targets(one) for one in read_candidates(variants, evaluation, [measurement])]
    for one in candidates:
        if one.recipe == OLD.recipe:
            one.variant.champion = ChampionVersion(name="fashion", version="3", sha256=one.variant.sha256)
    budget = Budget(max_accuracy_drop=0.008, max_size_bytes=120_000)
    write_comparison(candidates, folder, name="fashion", budget=budget, objective="gzip")
    return folder / "report.html"


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_hidden_or_scrolled_sideways(page: Path, tab: Browser, width: int, tmp_path: Path) -> None:
    tab.open(page, width, phone=width < 500)
    assert tab.value("innerWidth") == width
    assert tab.value("document.documentElement.scrollWidth") <= width
    # every variant's details too, with all their tables
    tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wide = (
        "[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 "
        "|| (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== 'visible'))"
        ".map((one) => one.tagName + '.' + one.className + ': ' + one.textContent.slice(0, 60))"
    )
    assert tab.value(wide) == []
    tab.value("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    tab.picture(Path(os.environ.get("LITEMILL_SCREENSHOTS", tmp_path)) / f"report-{width}.png")
    assert [address for address in tab.requests if not address.startswith("file:")] == []


def test_the_table_is_sorted_by_a_click_and_reads_as_it_says(page: Path, tab: Browser) -> None:
    tab.open(page, 1280)
    assert "fashion version 3" in tab.value("document.querySelector('tr.champion').innerText")
    tab.value("document.querySelector('th[data-sort=\"5\"]').click()")
    sizes = tab.value(
        "[...document.querySelectorAll('table[data-main] tbody tr')].map((row) => +row.cells[5].dataset.value)"
    )
    assert sizes == sorted(sizes) and len(sizes) > 8
    assert tab.value("getComputedStyle(document.querySelector('table.cards thead')).display") != "none"
    tab.open(page, 390, phone=True)
    label = "getComputedStyle(document.querySelector('table[data-main] td.size'), '::before').content"
    assert tab.value(label) == '"size, bytes"'
