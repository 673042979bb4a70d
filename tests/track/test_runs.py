"""The parent run: opened once, closed with its reason, in the place a user expects."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from litemill.errors import LitemillError
from litemill.track import finish_run, start_run, tag_run, tracking_uri
from litemill.track.runs import ATTACHED, NOTE, PARENT, REASON, RECIPE, flatten


def client() -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri())


def test_importing_the_package_does_not_import_mlflow() -> None:
    code = (
        "import sys, litemill.track, litemill.report;"
        "print([m for m in ('mlflow', 'jinja2', 'pandas', 'tensorflow') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_run_goes_to_a_database_in_the_current_folder_with_artifacts_beside_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start_run("digits", {"training": {"epochs": 3.0}, "targets": ["host"]}, pipeline_run_id="p1")

    run = client().get_run(run_id)
    assert (store / "mlflow.db").is_file()
    assert run.data.params == {"training.epochs": "3", "targets": '["host"]'}
    assert run.info.status == "RUNNING"
    assert run.info.artifact_uri.startswith((store / "mlartifacts" / "digits").as_uri())
    uri = tracking_uri()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert client().get_run(run_id).info.artifact_uri == run.info.artifact_uri


def test_a_retried_task_finds_the_run_that_it_started(store: Path) -> None:
    first = start_run("digits", {"a": 1}, pipeline_run_id="p1")

    assert start_run("digits", {"a": 1}, pipeline_run_id="p1") == first
    assert start_run("digits", {"a": 1}, pipeline_run_id="p2") != first


def test_secrets_and_long_values_are_fit_for_the_store(store: Path) -> None:
    many = {f"k{index}": index for index in range(250)}
    run_id = start_run(
        "digits",
        {"uri": "https://me:hunter2@host/m.keras", "token": "abc", "long": "x" * 7000} | many,
        pipeline_run_id="p1",
        tags={"note": "y" * 9000},
    )

    run = client().get_run(run_id)
    assert run.data.params["uri"] == "https://(hidden)@host/m.keras"
    assert run.data.params["token"] == "(hidden)"
    assert len(run.data.params["long"]) == 6000
    assert len(run.data.tags["note"]) == 8000
    assert run.data.params["k249"] == "249"


def test_an_injected_run_is_attached_to_at_its_top_and_never_closed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client().create_experiment("kubeflow")
    theirs = client().create_run(experiment).info.run_id
    task = client().create_run(experiment, tags={PARENT: theirs}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", task)

    assert start_run("digits", {"a": 1}, pipeline_run_id="p1") == theirs
    finish_run("digits", "p1", "FAILED", "task prune failed")

    run = client().get_run(theirs)
    assert run.data.tags[ATTACHED] == "true"
    assert run.info.status == "RUNNING"
    assert run.data.tags[REASON] == "task prune failed"
    assert client().get_experiment_by_name("digits") is None


def test_on_a_cluster_the_run_leads_back_to_kubeflow(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KFP_PIPELINE_RUN_URL", "https://kubeflow/#/runs/details/p1")

    tags = client().get_run(start_run("digits", {}, pipeline_run_id="p1")).data.tags

    assert tags["kfp.pipeline_run_id"] == "p1"
    assert tags["kfp.pipeline_run_url"] == "https://kubeflow/#/runs/details/p1"


@pytest.mark.parametrize(
    ("state", "status", "child"),
    [("SUCCEEDED", "FINISHED", "FAILED"), ("FAILED", "FAILED", "FAILED"), ("CANCELLED", "KILLED", "KILLED")],
)
def test_a_run_ends_as_the_pipeline_did_and_leaves_no_child_open(
    store: Path, state: str, status: str, child: str
) -> None:
    parent = start_run("digits", {}, pipeline_run_id="p1", tags={NOTE: "the summary"})
    experiment = client().get_run(parent).info.experiment_id
    left_open = client().create_run(experiment, tags={PARENT: parent, RECIPE: "int8"}).info.run_id

    finish_run("digits", "p1", state, "" if state == "SUCCEEDED" else "task evaluate ended with 137")

    run = client().get_run(parent)
    assert run.info.status == status
    assert run.info.end_time is not None
    assert client().get_run(left_open).info.status == child
    if state != "SUCCEEDED":
        assert run.data.tags[REASON] == "task evaluate ended with 137"
        assert run.data.tags[NOTE] == f"**{status.capitalize()}.** task evaluate ended with 137\n\nthe summary"


def test_a_pipeline_that_failed_before_its_run_was_started_is_no_second_failure(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        finish_run("digits", "unknown", "FAILED", "bad config")

    assert "no MLflow run was started for pipeline run unknown of 'digits'" in caplog.text


def test_a_tag_is_set(store: Path) -> None:
    run_id = start_run("digits", {}, pipeline_run_id="p1")

    tag_run(run_id, {"litemill.release": "gs://b/digits/1"})

    assert client().get_run(run_id).data.tags["litemill.release"] == "gs://b/digits/1"


def test_a_server_that_is_not_there_is_told_in_one_line_without_its_password(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = time.monotonic()

    with pytest.raises(LitemillError, match="cannot start a run") as caught:
        start_run("digits", {}, pipeline_run_id="p1")

    assert "MLflow at http://(hidden)@127.0.0.1:9" in str(caught.value)
    assert "Check MLFLOW_TRACKING_URI" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 60


def test_a_database_that_is_none_is_told(store: Path) -> None:
    (store / "mlflow.db").write_text("no database, but a longer piece of text than its header")

    with pytest.raises(
        LitemillError, match=r"cannot start a run.*file is not a database.*the file is an MLflow database"
    ):
        start_run("digits", {}, pipeline_run_id="p1")


def test_a_deleted_experiment_is_told_with_the_way_out(store: Path) -> None:
    client().delete_experiment(client().create_experiment("digits"))

    with pytest.raises(LitemillError, match=r"the experiment 'digits' is deleted.*give the config another name"):
        start_run("digits", {}, pipeline_run_id="p1")


def test_flatten_keeps_what_a_reader_needs() -> None:
    flat = flatten({"a": {"b": 8.0, "c": None, "d": {}}, "e": [1, "x"], "f": 0.5, "g": False})

    assert flat == {"a.b": "8", "e": '[1, "x"]', "f": "0.5", "g": "False"}


def test_first_runs_at_once_in_an_empty_folder_all_get_their_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow makes its database when it first opens it: two processes that do so at once must not break it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = (
        "import sys; from litemill.track import start_run; print(start_run('first', {}, pipeline_run_id=sys.argv[1]))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, job], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for job in ("one", "two")
    ]
    runs = {one.communicate()[0].strip() for one in started}
    assert [one.returncode for one in started] == [0, 0]
    assert len(runs) == 2
    assert {file.name for file in tmp_path.iterdir()} == {"mlflow.db"}
