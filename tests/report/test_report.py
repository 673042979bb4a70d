"""The report: complete, self-contained, safe to open, and right in its geometry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import VARIANT
from litemill.config.run import Budget
from litemill.evidence.graph import Delegation
from litemill.evidence.variant import CalibrationReport, LayerSensitivity, SlimReport, VariantManifest
from litemill.report import write_report
from litemill.report.figures import Figure, figures
from litemill.select.evidence_folders import read_run
from litemill.select.results import Results, TargetResult
from tests.made_evidence import FASHION, Made
from tests.made_report import Page, run_folder


@pytest.fixture
def page(tmp_path: Path) -> str:
    results, folder = run_folder(tmp_path)
    write_report(results, read_run(folder), folder, {"model.uri": "examples/fashion_mnist/model.keras"})
    return (folder / "report.html").read_text()


def test_the_page_stands_alone_and_is_small(page: str) -> None:
    assert len(page) < 150_000
    assert not re.findall(r"(?:src|href)=\"(?!#)|@import|url\(|https?://", page)
    assert "prefers-color-scheme: dark" in page


def test_the_page_is_well_formed_and_names_everything(page: str) -> None:
    parsed = Page(page)

    rows = {attrs["data-recipe"] for tag, attrs in parsed.seen if tag == "tr" and "data-recipe" in attrs}
    assert rows == {made.recipe for made in FASHION}
    assert "layer 'rescaling' (Rescaling) cannot be quantized during training" in parsed.text
    assert "0.9191" in parsed.text  # the baseline
    for fact in (
        "calibration samples",
        "tensorflow",
        "2.21.0",
        "test split (sha256)",
        "examples/fashion_mnist/model.keras",
    ):
        assert fact in parsed.text
    links = {attrs["href"] for tag, attrs in parsed.seen if tag == "a"}
    anchors = {f"#{attrs['id']}" for _, attrs in parsed.seen if "id" in attrs}
    assert links <= anchors


def test_every_row_of_a_table_has_its_head_s_columns(page: str) -> None:
    start = page.index('<table class="cards" data-main>')
    table = page[start : page.index("</table>", start)]
    leaves = len(re.findall(r"data-sort=", table))
    body = table[table.index("<tbody>") :]

    assert {row.count("<td") for row in body.split("</tr>")[:-1]} == {leaves}


def test_fusion_and_parity_of_every_variant_are_shown(page: str) -> None:
    made = sum(not recipe.reason for recipe in FASHION)
    assert page.count("Operator fusion: 38 ops of the frozen graph became 15") == made
    assert page.count("batch norm 7, bias 10, activation 7") == made
    tables = re.findall(r"Parity: .*?</table>", page, re.DOTALL)
    assert len(tables) == made
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in tables[0].split("</tr>")[1:-1]]
    assert rows == [[kernels, "keras", "128", "98.4 %", "0.033", "0.0012"] for kernels in ("xnnpack", "reference")]


def test_what_a_step_promised_is_shown_as_read_back(page: str) -> None:
    tables = re.findall(r"read back from the file</h3>.*?</table>", page, re.DOTALL)

    assert len(tables) == sum("prune" in made.steps for made in FASHION)
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in tables[0].split("</tr>")[1:-1]]
    assert rows[0] == ["block1_conv", "16 × 3 × 3 × 16", "int8", "50 %", "79", "15", "–"]
    assert rows[1][0] == "block2_conv"
    assert rows[1][-1] == "0"


def test_what_a_step_measured_is_written_as_facts_not_as_code(page: str) -> None:
    assert "<dt>training loss</dt><dd>0.7123, 0.4</dd>" in page
    assert "<dt>left alone stem</dt><dd>first convolution</dd>" in page
    assert "{&#39;" not in page


def test_the_evidence_of_a_variant_is_on_the_page_and_the_culprit_is_named(tmp_path: Path) -> None:
    results, folder = run_folder(tmp_path, (FASHION[0], FASHION[3]))
    path = folder / "variants" / "int8" / VARIANT
    manifest = read_manifest(path, VariantManifest)
    layers = [("stem/Relu;stem/Conv2D", -2.5, True), ("head/MatMul", 44.0, False)]
    manifest.sensitivity = [
        LayerSensitivity(name=name, op="CONV_2D", sqnr_db=noise, kept_float=kept) for name, noise, kept in layers
    ]
    manifest.calibration = CalibrationReport(
        samples=100, value_range=(0, 1), train_range=(0, 1), distance={"mean": 0.1}, warnings=["noise <b>like</b> this"]
    )
    left = {"3 SOFTMAX": "float32 not supported"}
    manifest.graph.delegation = {"edgetpu": Delegation(kind="predicted", source="rules", ops_fraction=0.75, left=left)}
    sizes = {"before": {"weights": 900, "names": 100}, "after": {"weights": 800, "names": 10}}
    manifest.slim = SlimReport(
        applied=True, before_bytes=1000, after_bytes=810, checks={"tflm": "bit-identical"}, **sizes
    )
    write_manifest(path, manifest)

    write_report(results, read_run(folder), folder)

    text = (folder / "report.html").read_text()
    parsed = Page(text)
    for answer in (
        *("Sensitivity: stem/Relu loses most", "noise <b>like</b> this.", "3 SOFTMAX: float32 not supported"),
        *("slimming saved 190 of 1,000 bytes", "Proof: tflm bit-identical."),
    ):
        assert answer in parsed.text
    rows = re.findall(r"--part: ([\d.]+)%\">(stem/Relu|head/MatMul)</td>.*?<td>(float|int8)</td>", text, re.DOTALL)
    assert rows == [("100.0", "stem/Relu", "float"), ("25.6", "head/MatMul", "int8")]


def test_what_came_in_cannot_run_in_the_page_or_break_the_table(tmp_path: Path) -> None:
    hostile = Made("qat-int8", ("qat", "int8"), reason="layer '<script>alert(1)</script>' | \"quoted\"\nsecond line")
    results, folder = run_folder(tmp_path, (FASHION[3], hostile))

    write_report(results, read_run(folder), folder)

    text = (folder / "report.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    summary = (folder / "summary.md").read_text()
    assert '&lt;script>alert(1)&lt;/script>\' \\| "quoted" second line' in summary


def test_the_summary_is_a_table_with_the_winner_and_the_reasons(tmp_path: Path) -> None:
    results, folder = run_folder(tmp_path)

    write_report(results, read_run(folder), folder)

    summary = (folder / "summary.md").read_text()
    assert summary.startswith("# fashion: ship `dynamic`\n\ndynamic is the smallest of 4 admissible variants")
    variants, _, techniques = summary.partition("## What each technique brought")
    effect = "| pruning | pruned-int8 | int8 | 1.00 × | 0.71 × | 1.00 × | −0.0014 |"
    assert effect in techniques.replace("\N{NO-BREAK SPACE}", " ")
    table = [line for line in variants.splitlines() if line.startswith("|")]
    assert len(table) == 2 + sum(not made.reason for made in FASHION)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "- `clustered-int8` (fail): accuracy drop 0.0139" in summary
    assert "- `qat-int8` (qat → int8): layer 'rescaling'" in summary
    assert f"sha256 `{results.variants[0].sha256}`" in summary


@pytest.mark.parametrize("recipes", [FASHION[8:], FASHION[3:4]])
def test_one_recipe_and_none_that_worked_still_give_a_report(tmp_path: Path, recipes: tuple[Made, ...]) -> None:
    results, folder = run_folder(tmp_path, recipes)

    write_report(results, read_run(folder), folder)

    assert recipes[0].recipe in Page((folder / "report.html").read_text()).text
    assert recipes[0].recipe in (folder / "summary.md").read_text()


def drawn(tmp_path: Path, title: str) -> Figure:
    results, _ = run_folder(tmp_path / title.replace(" ", "-"))
    return next(figure for figure in figures(results) if figure.title == title)


@pytest.mark.parametrize("title", ["top1 against size", "top1 against gzip size", "top1 against latency on host"])
def test_all_points_lie_in_the_frame_with_ticks_at_their_values(tmp_path: Path, title: str) -> None:
    figure = drawn(tmp_path, title)
    left, top, right, bottom = figure.frame

    assert len(figure.points) == sum(not made.reason for made in FASHION)
    for point in figure.points:
        assert left <= point.x <= right
        assert top <= point.y <= bottom
        assert point.low is not None and point.high is not None
        assert point.high <= point.y <= point.low  # pixels grow downwards
    for axis in (figure.x, figure.y):
        assert 3 <= len(axis.ticks) <= 12
        for pixel, text in axis.ticks:
            assert axis.at(float(text.replace(",", ""))) == pixel


def test_the_front_of_a_figure_is_what_nothing_beats_on_its_two_axes(tmp_path: Path) -> None:
    usable = [made for made in FASHION if not made.reason]
    best = {
        made.recipe
        for made in usable
        if not any(
            (other.size <= made.size and other.accuracy >= made.accuracy)
            and (other.size < made.size or other.accuracy > made.accuracy)
            for other in usable
        )
    }

    assert {point.recipe for point in drawn(tmp_path, "top1 against size").points if point.front} == best
    assert best == {"dynamic", "pcqat"}


def test_the_limits_of_the_budget_are_drawn_where_they_are(tmp_path: Path) -> None:
    figure = drawn(tmp_path, "top1 against size")

    assert figure.x_limit == figure.x.at(120_000)
    assert figure.y_limit == pytest.approx(figure.y.at(0.9191 - 0.005), abs=0.1)


def on_an_npu(results: Results) -> Results:
    """The same results with a target that stores a third of each file, needs an arena and times nothing."""
    rows = [
        row.model_copy(
            update={
                "measurements": {
                    "npu": TargetResult(kind="estimated", realised_bytes=row.size_bytes // 3, arena_bytes=51_808)
                }
            }
        )
        for row in results.variants
    ]
    return results.model_copy(update={"variants": rows, "objective": "size:npu"})


def test_what_a_target_stores_and_needs_is_in_the_report(tmp_path: Path) -> None:
    """Pruning and clustering pay there and in the download, not in the file."""
    results, folder = run_folder(tmp_path, budget=Budget(max_arena_bytes={"npu": 65_536}))
    results = on_an_npu(results)
    write_report(results, read_run(folder), folder)

    summary = (folder / "summary.md").read_text()
    asked = "Objective: smallest size stored on npu. Budget: arena on npu at most 65,536 bytes."
    assert asked in summary and asked in Page((folder / "report.html").read_text()).text
    assert " npu stored | npu arena |\n" in summary
    pcqat = next(row for row in results.variants if row.recipe == "pcqat")
    line = next(line for line in summary.splitlines() if f" {pcqat.recipe} " in line)
    assert line.endswith(f" {pcqat.size_bytes // 3:,} | 51,808 |")
    figure = next(figure for figure in figures(results) if figure.title == "top1 against size on npu")
    assert figure.x_label == "bytes that npu stores (estimated)"
    assert len(figure.points) == sum(not made.reason for made in FASHION)


def test_the_share_of_ops_is_told_where_an_accelerator_tells_no_time(tmp_path: Path) -> None:
    results, folder = run_folder(tmp_path)
    found = TargetResult(kind="estimated", delegated_fraction=0.875, accelerator="edgetpu and cpu")
    rows = [row.model_copy(update={"measurements": {"edgetpu": found}}) for row in results.variants]
    write_report(results.model_copy(update={"variants": rows}), read_run(folder), folder)

    summary = (folder / "summary.md").read_text()
    assert " edgetpu of its ops |\n" in summary and " 88 % |\n" in summary
    assert "88 % of its ops" in Page((folder / "report.html").read_text()).text


def test_a_widely_spread_axis_is_logarithmic(tmp_path: Path) -> None:
    assert drawn(tmp_path, "top1 against latency on host").x.log
    assert not drawn(tmp_path, "top1 against size").x.log


def test_names_do_not_overlap(tmp_path: Path) -> None:
    for title in ("top1 against size", "top1 against latency on host"):
        labels = [point.label for point in drawn(tmp_path, title).points if point.label]
        assert len(labels) >= 6
        assert len({(x, y) for x, y, _ in labels}) == len(labels)
