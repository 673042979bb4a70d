"""MLflow is down in the middle of a run: the evidence stays on disk, and is logged later, once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from litemill.artifacts.files import sha256_of
from litemill.cli import console
from litemill.cli.app import app
from litemill.config.run import Budget
from litemill.errors import InputError
from litemill.pipelines.places import check_out, deliver
from litemill.stages.release import release
from litemill.stages.sync import sync
from litemill.track import compare_runs, finish_run, log_variants, start_run, tag_run, tracking_uri
from litemill.track.promotion import history
from litemill.track.register import register
from litemill.track.runs import PARENT, RECIPE, VERDICT
from litemill.track.spool import SPOOL, Spool
from litemill.track.store import StoreError
from tests.small_run import Small, write_small

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def place(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a run's files; evidence is kept on disk, and a dead server is not waited for."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(SPOOL, str(tmp_path / "spool"))
    return tmp_path


def end_without_mlflow(place: Path, parent: str, *, first: list[str]) -> Path:
    """The rest of a run after MLflow died: the second model's variants, the comparison, registry, release, end."""
    two = write_small(place / "two", Small("pruned", seed=1, accuracy=0.88), Small("broken", seed=2, accuracy=0.2))
    assert log_variants(parent, two[0], two[1], [two[2]]) == []
    (place / "answered").write_text("# Diagnosis")
    budget, found = Budget(max_accuracy_drop=0.2), place / "results"
    results = compare_runs(
        parent, first, name="weather", budget=budget, objective="size", out=found, diagnosis=place / "answered"
    )
    assert {row.recipe for row in results.variants} == {"int8", "pruned", "broken"}, "none is lost"
    assert results.winner == "int8"
    assert register(found, "weather", run_id=parent).version == ""
    assert release(found, str(place / "released")) == "", "nothing is released before it is registered"
    finish_run("weather", "p1", "SUCCEEDED")
    deliver(found, place / "out", place / "spool")
    return place / "out"


def state(client: MlflowClient) -> dict[str, Any]:
    """All that MLflow has, but for what it made up itself."""
    experiment = client.get_experiment_by_name("weather")
    assert experiment
    found: dict[str, Any] = {}
    for run in client.search_runs([experiment.experiment_id]):
        name = run.data.tags.get(RECIPE, "parent")
        assert name not in found, f"two runs of {name}"
        points = {key: len(client.get_metric_history(run.info.run_id, key)) for key in run.data.metrics}
        files = sorted(item.path for item in client.list_artifacts(run.info.run_id))
        found[name] = (run.info.run_id, run.info.status, run.info.end_time, run.data.to_dictionary(), points, files)
    found["versions"] = [dict(one.tags) for one in client.search_model_versions("name = 'weather'")]
    return found


def test_what_mlflow_did_not_get_is_logged_later_and_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tracking_uri()
    parent = start_run("weather", {"data": {"kind": "npz"}}, pipeline_run_id="p1")
    one = write_small(place / "one", Small())
    first = log_variants(parent, one[0], one[1], [one[2]])
    # The server dies while a run is being logged: it is there, and not complete.
    client = MlflowClient(tracking_uri=store)
    half = client.create_run(client.get_run(parent).info.experiment_id, tags={PARENT: parent, RECIPE: "pruned"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    out = end_without_mlflow(place, parent, first=first)
    assert "127.0.0.1:9" in Spool(out / "unsent").offline
    check_out(out)  # the next run may replace it
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9"):
        sync(out)
    assert (out / "unsent").is_dir(), "it stays until it is logged"
    shutil.copytree(out, place / "copy")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    done = sync(out)
    assert (done.run_id, done.variants, done.registered) == (parent, 3, "1")
    assert sha256_of(Path(done.release) / "model.tflite") == history("weather")[0].figures["sha256"]
    logged = state(client)
    assert set(logged) == {"parent", "int8", "pruned", "broken", "versions"}
    assert logged["int8"][0] == first[0] and logged["pruned"][0] != half.info.run_id
    assert {run[1] for name, run in logged.items() if name != "versions"} == {"FINISHED"}
    assert logged["parent"][5] == ["diagnosis.md", "plots", "report.html", "results.json", "summary.md", "variants"]
    assert logged["broken"][3]["tags"][VERDICT] == "fail"
    assert logged["parent"][3]["tags"]["litemill.release"] == done.release
    assert not (out / "unsent").exists()

    assert sync(out).logged is False and state(client) == logged
    sync(place / "copy")
    assert state(client) == logged, "also from a copy of the folder"


def test_a_run_that_began_without_mlflow_is_logged_whole(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    assert start_run("weather", {"data": {"kind": "npz"}}, pipeline_run_id="p1") == ""
    one = write_small(place / "one", Small())
    assert log_variants("", one[0], one[1], [one[2]]) == []
    out = end_without_mlflow(place, "", first=[])
    tag_run("", {"litemill.note": "later"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

    monkeypatch.setattr("sys.argv", ["litemill", "sync", str(out)])
    for expected in ("logged 3 variants to run", "has all of run"):
        with pytest.raises(SystemExit) as ended:
            console.run(app)
        assert not ended.value.code and expected in capsys.readouterr().out
    logged = state(MlflowClient(tracking_uri=store))
    assert logged["parent"][3]["params"]["data.kind"] == "npz" and logged["parent"][1] == "FINISHED"
    assert f'"mlflow_run_id": "{logged["parent"][0]}"' in (out / "results.json").read_text()


def test_what_cannot_be_logged_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds nothing of a run that could be logged"):
        sync(place)
    parent = start_run("weather", {}, pipeline_run_id="p1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'elsewhere.db'}")
    with pytest.raises(InputError, match=f"there is no run {parent}. Set MLFLOW_TRACKING_URI to where the run began"):
        sync(place / "spool")
    monkeypatch.delenv(SPOOL)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    with pytest.raises(StoreError, match="cannot start a run"):
        start_run("weather", {}, pipeline_run_id="p2")
