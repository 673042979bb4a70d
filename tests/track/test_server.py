"""The same calls against a real MLflow server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from litemill.config.run import Budget
from litemill.track import compare_runs, finish_run, log_variants, start_run
from litemill.track.runs import NOTE, PARENT
from tests.made_evidence import FASHION, write_bundle
from tests.mlflow_server import serving

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server on the loopback, with a sqlite store and served artifacts."""
    with serving(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_a_run_is_complete_on_a_server(
    server: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    variants, evaluation, measured = write_bundle(tmp_path / "in")

    parent = start_run("fashion", {"data": {"kind": "npz"}}, pipeline_run_id="p1")
    children = log_variants(parent, variants, evaluation, [measured])
    results = compare_runs(
        parent, children, name="fashion", budget=Budget(max_size_bytes=120_000), objective="size", out=tmp_path / "out"
    )
    finish_run("fashion", "p1", "SUCCEEDED")

    client = MlflowClient(tracking_uri=server)
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert run.data.tags[NOTE].startswith(f"# fashion: ship `{results.winner}`")
    found = client.search_runs([run.info.experiment_id], filter_string=f"tags.`{PARENT}` = '{parent}'")
    assert {item.info.run_id for item in found} == set(children)
    for made in FASHION:
        if not made.reason:
            (child,) = (item for item in found if item.info.run_name == made.recipe)
            copy = client.download_artifacts(child.info.run_id, "model.tflite", str(tmp_path))
            assert Path(copy).read_bytes() == made.tflite
            assert (tmp_path / "out" / "variants" / made.recipe / "model.tflite").read_bytes() == made.tflite
    page = client.download_artifacts(parent, "report.html", str(tmp_path))
    assert Path(page).read_text() == (tmp_path / "out" / "report.html").read_text()
    assert not (store / "mlartifacts").exists()
