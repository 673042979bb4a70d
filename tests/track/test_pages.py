"""MLflow's pages explain themselves: names, data sets, headline figures, pictures."""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

from litemill.config.run import Budget
from litemill.evidence.interface import Interface
from litemill.evidence.outcome import Evaluation
from litemill.report.pictures import MOST_CLASSES, confusion, per_class
from litemill.track import compare_runs, log_variants, start_run, tracking_uri
from litemill.track.pages import class_metrics, log_inputs
from tests.small_run import Small, write_small


@pytest.fixture
def client(store: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri())


def test_a_run_says_what_it_is_about(client: MlflowClient, tmp_path: Path) -> None:
    parent = start_run("weather", {}, pipeline_run_id="p1")
    begun = client.get_run(parent)
    day = begun.info.run_name.removeprefix("weather ")
    assert len(day) == len("2026-11-29") and begun.info.run_name.startswith("weather 20")
    variants, evaluation, measured = write_small(tmp_path / "in", Small(), Small("worse", seed=1, accuracy=0.5))
    ids = log_variants(parent, variants, evaluation, [measured])
    budget = Budget(max_accuracy_drop=0.1)
    compare_runs(parent, ids, name="weather", budget=budget, objective="size", out=tmp_path / "out")

    run = client.get_run(parent)
    assert run.info.run_name == f"weather {day} int8"
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert run.data.metrics["winner/accuracy"] == 0.9 and run.data.metrics["winner/host/latency_p50_ms"] == 0.2
    assert run.data.metrics["float32/accuracy"] == pytest.approx(0.9)
    inputs = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert set(inputs) == {"weather calibration", "weather evaluation"}
    assert inputs["weather evaluation"].dataset.digest == "d" * 36
    assert [tag.value for tag in inputs["weather evaluation"].tags] == ["evaluation"]

    child = client.get_run(next(one for one in ids if client.get_run(one).info.run_name == "int8"))
    assert child.data.metrics["per_class/sun"] == 0.9 and "per_class/snow" not in child.data.metrics
    assert {item.path for item in client.list_artifacts(child.info.run_id)} >= {"confusion.svg", "per_class.csv"}
    plots = client.list_artifacts(parent, "plots")
    assert plots, "the trade-offs are where a page shows them"
    for item in plots:
        picture = ET.parse(client.download_artifacts(parent, item.path, str(tmp_path))).getroot()
        assert picture.tag == "{http://www.w3.org/2000/svg}svg" and "int8" in "".join(picture.itertext())
    assert not list((tmp_path / "out").rglob("confusion.svg")), "results stay as they are"


def test_nothing_to_ship_is_in_the_name_too(client: MlflowClient, tmp_path: Path) -> None:
    client.create_experiment("weather", artifact_location=(tmp_path / "files").as_uri())
    parent = start_run("weather", {}, pipeline_run_id="p1")
    variants, evaluation, measured = write_small(tmp_path / "in", Small())
    ids = log_variants(parent, variants, evaluation, [measured])
    compare_runs(parent, ids, name="weather", budget=Budget(max_size_bytes=1), objective="size", out=tmp_path / "out")
    run = client.get_run(parent)
    assert run.info.run_name.endswith(" no winner")
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"


def test_labels_of_any_kind_are_drawn_and_named() -> None:
    labels = ["<b>&", "a/b c", "a/b c", "x" * 300, 'say "no"']
    found = Evaluation(
        recipe="int8",
        per_class=[0.5, 0.25, None, 1.0, 0.0],
        confusion=[[at * 10 + other for other in range(5)] for at in range(5)],
        interface=Interface(labels=labels, classes=5),
    )
    picture = ET.fromstring(confusion(found))
    assert "<b>&" in "".join(picture.itertext())
    assert len(class_metrics(found)) == 4 and all(len(name) < 250 for name in class_metrics(found))
    assert per_class(found).splitlines()[1] == '"<b>&",0.5'
    many = found.model_copy(update={"confusion": [[1] * (MOST_CLASSES + 1)] * (MOST_CLASSES + 1)})
    assert confusion(many) == "" and confusion(Evaluation(recipe="x")) == "" and per_class(Evaluation(recipe="x")) == ""


def test_runs_that_are_the_first_to_log_a_data_set_at_once_all_have_it(client: MlflowClient) -> None:
    """As the tasks of a run do, whose branches end side by side."""
    experiment = client.create_experiment("weather")
    runs = [client.create_run(experiment).info.run_id for _ in range(8)]
    for number in range(6):
        data = [DatasetInput(Dataset("weather", f"{number}", "local", "{}"))]
        together = threading.Barrier(len(runs))

        def log(run_id: str, data: list[DatasetInput] = data, together: threading.Barrier = together) -> None:
            together.wait()
            log_inputs(client, run_id, data)

        with ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(log, runs))
    for run_id in runs:
        assert sorted(one.dataset.digest for one in client.get_run(run_id).inputs.dataset_inputs) == list("012345")
