"""A report as `compare` hands it over, and what a test asks about its page."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path

from litemill.artifacts.layout import EVALUATION, MEASUREMENT, VARIANT
from litemill.config.run import Budget
from litemill.select import build_results, select
from litemill.select.evidence_folders import read_candidate
from litemill.select.results import Results
from tests.made_evidence import FASHION, Made, write_bundle

VOID = {"meta", "br", "circle", "line", "path", "rect"}
BUDGET = Budget(max_accuracy_drop=0.005, max_size_bytes=120_000)


class Page(HTMLParser):
    """Checks that tags nest, and gathers what a test asks about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def run_folder(tmp_path: Path, recipes: tuple[Made, ...] = FASHION, budget: Budget = BUDGET) -> tuple[Results, Path]:
    """What `compare` hands to the report."""
    bundles = write_bundle(tmp_path / "bundles", recipes)
    folder = tmp_path / "out"
    for made in recipes:
        place = folder / "variants" / made.recipe
        place.mkdir(parents=True)
        names = (VARIANT, EVALUATION, "measurement.host.json")
        for bundle, written, name in zip(bundles, (VARIANT, EVALUATION, MEASUREMENT), names, strict=True):
            shutil.copyfile(bundle / made.recipe / written, place / name)
    evidence = [read_candidate(folder / "variants" / made.recipe) for made in recipes]
    results = build_results("fashion", evidence, select(evidence, budget, "size"), budget, "size", "run0")
    return results, folder
