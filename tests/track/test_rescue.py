"""A cluster starts nothing once a task has failed: its exit task compares what there is."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from kfp.dsl import PipelineTaskFinalStatus
from mlflow import MlflowClient

from litemill.components.finish_run import finish_run
from litemill.track import log_variants, start_run, tracking_uri
from litemill.track.runs import NOTE, REASON, RECIPE, children
from tests.made_evidence import FASHION, write_bundle

ERROR = "task prune-1 was evicted: the node was low on memory"
LOST = {"pruned-int8": [{"name": "prune", "options": {"sparsity": 0.5}}, {"name": "int8"}]}
PLANNED = {
    "recipes": {made.recipe: [{"name": "int8"}] for made in FASHION[:5]} | LOST,
    "budget": {"max_accuracy_drop": 0.5},
    "objective": "size",
    "seed": 8.0,  # Kubeflow has no whole numbers inside of a dict
}


def client() -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri())


def end(state: str, planned: object = PLANNED, **limits: object) -> None:
    status = PipelineTaskFinalStatus(
        state=state, pipeline_job_resource_name="p1", pipeline_task_name="run", error_code=1, error_message=ERROR
    )
    finish_run.python_func(name="fashion", pipeline_run_id="p1", status=status, planned=planned, **limits)


@pytest.fixture
def parent(store: Path, tmp_path: Path) -> str:
    """A pipeline that failed when one of its two branches had logged its variants."""
    run_id = start_run("fashion", {}, pipeline_run_id="p1")
    bundle = write_bundle(tmp_path / "source", FASHION[:5])
    log_variants(run_id, bundle[0], bundle[1], [bundle[2]])
    return run_id


def test_what_was_logged_is_ranked_and_what_is_missing_is_named_with_its_reason(parent: str, tmp_path: Path) -> None:
    end("FAILED", max_size_bytes=98_000, max_accuracy_drop=0.005)

    run = client().get_run(parent)
    results = json.loads(Path(client().download_artifacts(parent, "results.json", str(tmp_path))).read_text())
    rows = {row["recipe"]: row for row in results["variants"]}
    assert set(rows) == {made.recipe for made in FASHION[:5]} | set(LOST)
    assert rows["pruned-int8"]["status"] == "failed"
    assert ERROR in rows["pruned-int8"]["reason"]
    assert run.data.tags["litemill.winner"] == results["winner"] == "dynamic"
    assert results["budget"]["max_size_bytes"] == 98_000
    assert run.info.status == "FAILED"
    assert run.data.tags[REASON] == ERROR
    assert run.data.tags[NOTE].startswith(f"**Failed.** {ERROR}\n\n# fashion")
    assert "report.html" in {item.path for item in client().list_artifacts(parent)}
    logged = {one.data.tags[RECIPE]: one for one in children(client(), parent)}
    assert logged["pruned-int8"].data.params["steps"] == "prune → int8"
    assert logged["pruned-int8"].info.status == "FAILED"


def test_a_retried_exit_task_changes_nothing(parent: str) -> None:
    end("FAILED")
    before = {one.info.run_id: one.data.tags for one in children(client(), parent)}

    end("FAILED")

    assert {one.info.run_id: one.data.tags for one in children(client(), parent)} == before


@pytest.mark.parametrize("state", ["SUCCEEDED", "CANCELLED"])
def test_only_a_failed_pipeline_is_compared_by_its_exit_task(parent: str, state: str) -> None:
    end(state)

    assert "litemill.winner" not in client().get_run(parent).data.tags
    assert len(children(client(), parent)) == 5


def test_a_pipeline_that_logged_nothing_is_closed_without_a_comparison(store: Path) -> None:
    run_id = start_run("fashion", {}, pipeline_run_id="p1")

    end("FAILED")

    run = client().get_run(run_id)
    assert run.info.status == "FAILED"
    assert not children(client(), run_id)


def test_a_variant_whose_logging_was_cut_off_is_missing_too(parent: str) -> None:
    cut_off = next(one for one in children(client(), parent) if one.data.tags[RECIPE] == "dynamic")
    client().update_run(cut_off.info.run_id, status="RUNNING")

    end("FAILED")

    (dynamic,) = [one for one in children(client(), parent) if one.data.tags[RECIPE] == "dynamic"]
    assert ERROR in dynamic.data.tags[REASON]
    assert client().get_run(parent).data.tags["litemill.winner"] != "dynamic"


def test_what_cannot_be_compared_does_not_keep_the_run_open(
    parent: str, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in store.glob("mlartifacts/**/model.tflite"):
        file.write_bytes(b"damaged")

    with caplog.at_level(logging.WARNING):
        end("FAILED")

    assert "could not be compared" in caplog.text
    assert client().get_run(parent).info.status == "FAILED"
