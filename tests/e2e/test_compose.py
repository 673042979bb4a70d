"""`docker/compose.yaml` brought up: MLflow on PostgreSQL, artifacts on a volume, closed to names it does not know."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.e2e.conftest import ROOT, Engine

pytestmark = pytest.mark.e2e

POSTGRES = Path(__file__).parent / "postgres"
ADDRESS = "http://localhost:5000"
PASSWORD = "only-for-this-test"


@dataclass(frozen=True)
class Composed:
    """The services, up."""

    command: tuple[str, ...]
    environment: dict[str, str]

    def __call__(self, *arguments: str) -> str:
        """Run a command of docker compose or podman-compose; what it says."""
        done = subprocess.run(
            [*self.command, *arguments], capture_output=True, text=True, env=self.environment, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def composed(engine: Engine) -> Iterator[Composed]:
    """Both services from images built here; the volumes are gone at the end."""
    engine.script("build.sh", "mlflow")
    base = ["--build-arg", f"BASE_IMAGE={engine.environment.get('BASE_IMAGE', 'python:3.11-slim')}"]
    podman = ["--isolation=oci", "--format=docker"] if engine.command == "podman" else []
    engine("build", "--network=host", *podman, *base, "--tag", "localhost/litemill-test/postgres:15", str(POSTGRES))
    files = (ROOT / "docker" / "compose.yaml", POSTGRES / "compose.override.yaml")
    podman_compose = (str(Path(sys.executable).with_name("podman-compose")),)
    tool = podman_compose if engine.command == "podman" else ("docker", "compose")
    options = [word for file in files for word in ("--file", str(file))]
    environment = {**os.environ, **engine.environment, "POSTGRES_PASSWORD": PASSWORD}
    services = Composed((*tool, "--project-name", "litemill-test", *options), environment)
    services("up", "--detach", "--no-build")
    try:
        yield services
    finally:
        services("down", "--volumes")


@retry(
    retry=retry_if_exception_type(requests.RequestException),
    stop=stop_after_delay(180),
    wait=wait_fixed(1),
    reraise=True,
)
def wait_until_healthy() -> None:
    """As long as the server migrates its database, it does not answer."""
    requests.get(f"{ADDRESS}/health", timeout=10).raise_for_status()


def test_a_team_gets_a_tracking_server_that_keeps_runs_and_files(composed: Composed, tmp_path: Path) -> None:
    import mlflow

    wait_until_healthy()
    client = mlflow.MlflowClient(ADDRESS)
    run = client.create_run(client.create_experiment("composed"))
    client.log_metric(run.info.run_id, "accuracy", 0.9)
    (tmp_path / "model.tflite").write_bytes(b"a file")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.tflite"))
    composed("restart")
    wait_until_healthy()

    assert client.get_run(run.info.run_id).data.metrics == {"accuracy": 0.9}
    fetched = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="model.tflite", dst_path=str(tmp_path / "back"), tracking_uri=ADDRESS
    )
    assert Path(fetched).read_bytes() == b"a file"
    query = "SELECT value FROM metrics"
    login = ("env", f"PGPASSWORD={PASSWORD}", "psql", "--host=127.0.0.1", "--username=mlflow", "--dbname=mlflow")
    assert composed("exec", "-T", "postgres", *login, "--tuples-only", "--command", query).split() == ["0.9"]


def test_the_server_has_no_privileges_and_answers_only_to_its_names(composed: Composed) -> None:
    wait_until_healthy()

    whoami = composed("exec", "-T", "mlflow", "sh", "-c", "id -u; cut -d ' ' -f 2,4 /proc/mounts | grep '^/ '")
    experiments = f"{ADDRESS}/api/2.0/mlflow/experiments/search?max_results=1"
    known, foreign = (requests.get(experiments, headers={"Host": host}, timeout=30) for host in ("mlflow:5000", "evil"))

    assert "10001" in whoami.split()
    assert "\n/ ro," in whoami
    assert "Invalid Host header" in foreign.text
    assert foreign.status_code == 403
    assert known.status_code == 200


def test_a_password_is_required(composed: Composed) -> None:
    environment = {name: value for name, value in composed.environment.items() if name != "POSTGRES_PASSWORD"}

    done = subprocess.run([*composed.command, "config"], capture_output=True, text=True, env=environment, check=False)

    assert done.returncode != 0
    assert "set it in docker/.env" in done.stdout + done.stderr
