"""Upload a pipeline once for each content, start a run of it, and follow it."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litemill.artifacts.files import write_text
from litemill.config.run import RunSpec
from litemill.errors import LitemillError
from litemill.pipelines.client import api_errors
from litemill.pipelines.kubeflow import build_pipeline, describe
from litemill.pipelines.kubernetes import for_cluster
from litemill.pipelines.size import check_size
from litemill.pipelines.tasks import slug

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True)
class Version:
    """A pipeline version on the server."""

    pipeline_id: str
    version_id: str
    name: str
    reused: bool


def compile_for_cluster(spec: RunSpec, out: Path) -> int:
    """Compile the pipeline of a config with everything its `cluster` section asks for; returns its size in bytes.

    Raises:
        ConfigError: It is larger than what a cluster stores; nothing is written.
    """
    from kfp import compiler

    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        package = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(build_pipeline(spec, for_cluster(spec.cluster)), str(package))
        text = package.read_text(encoding="utf-8")
    size = len(text.encode())
    check_size(size, len(spec.recipes), len(spec.targets))
    write_text(out, text)
    return size


def upload(client: Any, host: str, spec: RunSpec) -> Version:
    """Upload the pipeline of a config as a version named after the digest of what was compiled.

    The same config and components give the same digest, and the version that is there already is used.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "pipeline.yaml"
        compile_for_cluster(spec, package)
        version_name = f"{slug(spec.name)}-{hashlib.sha256(package.read_bytes()).hexdigest()[:12]}"
        with api_errors(host, f"pipeline {spec.name}"):
            pipeline_id = client.get_pipeline_id(slug(spec.name))
            if pipeline_id is None:
                made = client.upload_pipeline(str(package), slug(spec.name), describe(spec), spec.cluster.namespace)
                pipeline_id = made.pipeline_id
            known = _version(client, pipeline_id, version_name)
            if known:
                return Version(pipeline_id, known, version_name, reused=True)
            uploaded = client.upload_pipeline_version(
                str(package), version_name, pipeline_id=pipeline_id, description=describe(spec)
            )
            return Version(pipeline_id, uploaded.pipeline_version_id, version_name, reused=False)


def _version(client: Any, pipeline_id: str, name: str) -> str | None:
    token = ""
    while True:
        page = client.list_pipeline_versions(pipeline_id, page_token=token, page_size=100)
        for version in page.pipeline_versions or []:
            if version.display_name == name:
                return str(version.pipeline_version_id)
        token = page.next_page_token or ""
        if not token:
            return None


def experiment_of(client: Any, host: str, spec: RunSpec) -> str:
    """Id of the Kubeflow experiment of a config, made when there is none."""
    with api_errors(host, f"experiment {spec.name}"):
        found = client.create_experiment(spec.name, describe(spec), spec.cluster.namespace)
    return str(found.experiment_id)


def submit(client: Any, host: str, spec: RunSpec) -> tuple[str, Version]:
    """Upload a config's pipeline if need be and start a run; returns the run's id and the version."""
    version = upload(client, host, spec)
    experiment = experiment_of(client, host, spec)
    job = f"{spec.name} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    with api_errors(host, f"pipeline version {version.name}"):
        run = client.run_pipeline(
            experiment,
            job,
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            service_account=spec.cluster.service_account or None,
        )
    return str(run.run_id), version


def follow(
    client: Any, host: str, run_id: str, tell: Callable[[Any], None], *, wait: bool = True, every: float = 10.0
) -> str:
    """Tell about a run until it ended (or once), and return its state.

    Args:
        client: The connection.
        host: URL of the API, for errors.
        run_id: Id of the run.
        tell: Called with the run whenever it was read.
        wait: Whether to go on until it ended.
        every: Seconds between two looks.
    """
    while True:
        with api_errors(host, f"run {run_id}"):
            run = client.get_run(run_id)
        tell(run)
        state = str(run.state or "PENDING")
        if state in ENDED or not wait:
            return state
        time.sleep(every)


def require_success(state: str, run_id: str, host: str) -> None:
    """Raise unless a run succeeded.

    Raises:
        LitemillError: It did not.
    """
    if state != "SUCCEEDED":
        raise LitemillError(f"run {run_id} ended as {state}", where=host, fix="Its page shows the task that failed")
