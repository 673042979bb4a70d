"""A compiled task's own command line, in its image, with the paths that Kubeflow's launcher gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from litemill.artifacts.files import read_manifest
from litemill.config.load import load_config
from litemill.evidence.outcome import Evaluation
from litemill.evidence.sources import DatasetManifest
from litemill.evidence.variant import VariantManifest
from tests.e2e.conftest import ROOT, Engine

pytestmark = pytest.mark.e2e

CONFIG, COMPILED = ROOT / "pipelines" / "digits" / "config.yaml", ROOT / "pipelines" / "digits" / "pipeline.yaml"
BUCKET = "gs://bucket/run-1"


class Launcher:
    """What Kubeflow does around a task: it mounts the bucket at /gcs and names each output's place there."""

    def __init__(self, engine: Engine, bucket: Path, files: Path) -> None:
        self.engine, self.bucket, self.files = engine, bucket, files
        self.spec = next(yaml.safe_load_all(COMPILED.read_text()))
        bucket.mkdir()
        bucket.chmod(0o777)

    def run(self, task: str, parameters: dict[str, Any], **inputs: str) -> Path:
        """Execute a task in its image.

        Args:
            task: Name in the compiled pipeline.
            parameters: Values of its input parameters.
            inputs: Address of each input artifact.

        Returns:
            The folder of its outputs, on this side of the mount.
        """
        component = self.spec["components"][f"comp-{task}"]
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        place = self.bucket / "run-1" / task
        place.mkdir(parents=True)
        for folder in (place.parent, place):
            folder.chmod(0o777)
        outputs = component["outputDefinitions"]
        artifacts = {
            name: {"artifacts": [{"name": name, "uri": f"{BUCKET}/{task}/{name}", "type": made["artifactType"]}]}
            for name, made in outputs.get("artifacts", {}).items()
        }
        given = {
            name: {"artifacts": [{"name": name, "uri": uri, "type": {"schemaTitle": "system.Artifact"}}]}
            for name, uri in inputs.items()
        }
        message = {
            "inputs": {"parameterValues": parameters, "artifacts": given},
            "outputs": {
                "artifacts": artifacts,
                "parameters": {
                    name: {"outputFile": f"/gcs/bucket/run-1/{task}/{name}"} for name in outputs.get("parameters", {})
                },
                "outputFile": f"/gcs/bucket/run-1/{task}/executor_output.json",
            },
        }
        words = [*container["command"], *container["args"]]
        command = [json.dumps(message) if word == "{{$}}" else word for word in words]
        mounts = ("--volume", f"{self.bucket}:/gcs/bucket", "--volume", f"{self.files}:/files:ro")
        done = self.engine.read_only(container["image"], *command, options=mounts)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert (place / "executor_output.json").is_file()
        return place


def test_tasks_pass_artifacts_on_through_a_mounted_bucket(engine: Engine, digits_model: Path, tmp_path: Path) -> None:
    launcher = Launcher(engine, tmp_path / "bucket", digits_model.parent)
    digits_model.parent.chmod(0o755)
    data = load_config(CONFIG).model_dump(mode="json", exclude_none=True)["data"]

    prepared = launcher.run("prepare-data", {"data": data, "uri": "", "sha256": "", "seed": 0})
    dataset = f"{BUCKET}/prepare-data/dataset"
    source = {"uri": "/files/digits.keras", "sha256": "", "allow_unsafe": False}
    imported = launcher.run("import-model", source, dataset=dataset)
    baseline = f"{BUCKET}/import-model/baseline"
    evaluated = launcher.run("evaluate-baseline", {"kernels": "xnnpack"}, variants=baseline, dataset=dataset)

    manifest = read_manifest(prepared / "dataset" / "dataset.json", DatasetManifest)
    variant = read_manifest(imported / "baseline" / "baseline" / "variant.json", VariantManifest)
    evaluation = read_manifest(evaluated / "evaluation" / "baseline" / "evaluation.json", Evaluation)
    assert (imported / "model" / "saved_model").is_dir()
    assert evaluation.sha256 == variant.sha256
    assert evaluation.samples == manifest.splits["test"].samples
    assert evaluation.value > 0.8
