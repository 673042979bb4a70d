"""A store of its own for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: MLflow takes seconds to make one."""
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def store(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, so that runs go to the default sqlite store in it."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "KUBERNETES_SERVICE_HOST", "KFP_PIPELINE_RUN_URL"):
        monkeypatch.delenv(variable, raising=False)
    place = tmp_path / "work"
    place.mkdir()
    shutil.copyfile(empty_database, place / "mlflow.db")
    monkeypatch.chdir(place)
    return place
