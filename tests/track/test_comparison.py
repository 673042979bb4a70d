"""Fan-in: from run ids alone to the folder a user gets and the page MLflow shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from litemill.artifacts.proof import DamagedFile
from litemill.config.run import Budget
from litemill.errors import InputError
from litemill.track import compare_runs, log_variants, start_run, tracking_uri
from litemill.track.comparison import fit
from litemill.track.runs import NOTE, VERDICT
from tests.made_evidence import FASHION, sha256, write_bundle

BUDGET = Budget(max_accuracy_drop=0.005, max_size_bytes=98_000)


@pytest.fixture
def runs(store: Path, tmp_path: Path) -> tuple[str, list[str]]:
    parent = start_run("fashion", {"data": {"kind": "npz"}}, pipeline_run_id="p1")
    one = write_bundle(tmp_path / "source", FASHION[:5])
    other = write_bundle(tmp_path / "compressed", FASHION[5:])
    return parent, [
        *log_variants(parent, one[0], one[1], [one[2]]),
        *log_variants(parent, other[0], other[1], [other[2]]),
    ]


def test_the_folder_holds_the_whole_result(runs: tuple[str, list[str]], tmp_path: Path) -> None:
    out = tmp_path / "out"

    results = compare_runs(*runs, name="fashion", budget=BUDGET, objective="size", out=out)

    written = json.loads((out / "results.json").read_text())
    assert written["winner"] == results.winner == "dynamic"
    assert written["mlflow_run_id"] == runs[0]
    assert {row["recipe"] for row in written["variants"]} == {made.recipe for made in FASHION}
    for row in written["variants"]:
        folder = out / "variants" / row["recipe"]
        assert (folder / "variant.json").is_file()
        assert (folder / "measurement.host.json").is_file()
        assert not (folder / "samples.npz").exists()
        if row["status"] == "ok":
            assert sha256((folder / "model.tflite").read_bytes()) == row["sha256"]
    assert "dynamic" in (out / "report.html").read_text()
    assert not [item for item in out.parent.iterdir() if item.name.startswith(".out")]


def test_the_parent_run_explains_itself(runs: tuple[str, list[str]], tmp_path: Path) -> None:
    parent, children = runs
    (tmp_path / "answered").write_text("# Diagnosis")
    compare_runs(
        parent,
        children,
        name="fashion",
        budget=BUDGET,
        objective="size",
        out=tmp_path / "out",
        diagnosis=tmp_path / "answered",
    )

    client = MlflowClient(tracking_uri=tracking_uri())
    run = client.get_run(parent)
    assert run.data.tags["litemill.winner"] == "dynamic"
    assert run.data.tags[NOTE] == (tmp_path / "out" / "summary.md").read_text()
    assert run.data.metrics["variants"] == len(FASHION)
    assert run.data.metrics["winner/size_bytes"] == 94_600
    files = {item.path for item in client.list_artifacts(parent)}
    assert files == {"results.json", "report.html", "summary.md", "diagnosis.md", "variants", "plots"}
    assert (tmp_path / "out" / "diagnosis.md").read_text() == "# Diagnosis"
    verdicts = {client.get_run(run_id).info.run_name: client.get_run(run_id).data.tags[VERDICT] for run_id in children}
    assert verdicts["dynamic"] == "pass"
    assert verdicts["clustered-int8"] == "fail"


def test_nothing_admissible_is_a_result_too(runs: tuple[str, list[str]], tmp_path: Path) -> None:
    results = compare_runs(
        *runs, name="fashion", budget=Budget(max_size_bytes=10), objective="size", out=tmp_path / "out"
    )

    assert results.winner == ""
    assert "# fashion: nothing to ship" in (tmp_path / "out" / "summary.md").read_text()


def test_ids_that_hold_no_variant_are_refused_and_nothing_is_left(runs: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no variant"):
        compare_runs(runs[0], [runs[0]], name="fashion", budget=BUDGET, objective="size", out=tmp_path / "out")
    with pytest.raises(InputError, match="no variants to compare"):
        compare_runs(runs[0], [], name="fashion", budget=BUDGET, objective="size", out=tmp_path / "out")
    with pytest.raises(InputError, match="two runs hold the recipe"):
        compare_runs(
            runs[0], [runs[1][0], runs[1][0]], name="fashion", budget=BUDGET, objective="size", out=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_an_artifact_that_was_damaged_in_the_store_is_refused(
    runs: tuple[str, list[str]], store: Path, tmp_path: Path
) -> None:
    (kept,) = store.glob(f"mlartifacts/**/{runs[1][0]}/artifacts/model.tflite")
    kept.write_bytes(kept.read_bytes() + b"\0")
    with pytest.raises(DamagedFile, match=r"has digest .* its manifest says"):
        compare_runs(*runs, name="fashion", budget=BUDGET, objective="size", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_long_summary_is_cut_at_a_line() -> None:
    cut = fit("\n".join(f"line {index}" for index in range(1000)), limit=500)

    assert len(cut) <= 500
    assert cut.endswith("The rest is in the artifact summary.md.\n")
    assert all(line.startswith("line ") for line in cut.split("\n\n")[0].splitlines())
