"""What the `cluster` section puts into the compiled pipeline, and what it must never put there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import components
from pydantic import ValidationError

from litemill.config.kubernetes import COMPONENTS, ClusterSpec
from litemill.config.load import load_config
from litemill.config.steps import parse_step
from litemill.errors import ConfigError
from litemill.pipelines.submit import compile_for_cluster

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "pipelines" / "digits" / "config.yaml"
CLUSTER = {
    "images": {"train": "registry.local/train:7", "edge": "registry.local/edge@sha256:" + "a" * 64},
    "image_pull_secrets": ["registry"],
    "env": {"MLFLOW_TRACKING_URI": "http://mlflow.mlflow:5000"},
    "secrets": [{"name": "mlflow", "env": {"MLFLOW_TRACKING_TOKEN": "token"}}],
    "labels": {"team": "edge"},
    "components": {
        "import-model": {"gpu": 1, "memory": "16Gi"},
        "benchmark": {
            "node_selector": {"device-lab": "true"},
            "tolerations": [{"key": "devices", "effect": "NoSchedule"}],
            "secrets": [{"name": "device-ssh", "mount": "/home/litemill/.ssh"}],
            "timeout_minutes": 30,
        },
    },
}


def compiled(tmp_path: Path, cluster: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The compiled text, its executors' containers and their Kubernetes settings, by task name."""
    spec = load_config(DIGITS).model_copy(update={"cluster": ClusterSpec.model_validate(cluster)})
    compile_for_cluster(spec, tmp_path / "pipeline.yaml")
    text = (tmp_path / "pipeline.yaml").read_text()
    graph, platform = yaml.safe_load_all(text)
    executors = graph["deploymentSpec"]["executors"]
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    shared = {name[5:]: one["executorLabel"] for name, one in graph["components"].items() if "executorLabel" in one}
    containers = {task: executors[label]["container"] for task, label in shared.items()}
    return text, containers, {task: settings[label] for task, label in shared.items()}


def test_each_task_gets_the_image_resources_and_placement_of_its_component(tmp_path: Path) -> None:
    """Train-aware and light tasks differ, and a component's own settings win."""
    _, containers, settings = compiled(tmp_path, CLUSTER)
    assert containers["import-model"]["image"] == "registry.local/train:7"
    assert containers["evaluate-source"]["image"].startswith("registry.local/edge@sha256:")
    assert containers["import-model"]["resources"]["resourceMemoryLimit"] == "16Gi"
    assert containers["import-model"]["resources"]["accelerator"]["resourceCount"] == "1"
    assert containers["evaluate-source"]["resources"]["resourceMemoryLimit"] == "2Gi"
    benchmark = settings["benchmark-host-source"]
    assert benchmark["nodeSelector"]["labels"] == {"device-lab": "true"}
    assert benchmark["tolerations"][0]["key"] == "devices"
    assert benchmark["secretAsVolume"][0]["mountPath"] == "/home/litemill/.ssh"
    assert "nodeSelector" not in settings["evaluate-source"]
    for one in settings.values():
        assert one["secretAsEnv"][0]["keyToEnv"][0]["envVar"] == "MLFLOW_TRACKING_TOKEN"
        assert one["podMetadata"]["labels"] == {"team": "edge"}
        assert one["imagePullSecret"][0]["secretName"] == "registry"
        assert one["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("cluster", [{}, CLUSTER], ids=["defaults", "full"])
def test_the_compiled_pipeline_has_no_secret_no_latest_and_installs_nothing(
    tmp_path: Path, cluster: dict[str, Any]
) -> None:
    """What is compiled is what runs, and it may be shown to anyone."""
    text, containers, _ = compiled(tmp_path, cluster)
    assert "pip install" not in text
    for container in containers.values():
        assert re.search(r":(?!latest)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"])
        for variable in container.get("env", []):
            assert not re.search("TOKEN|PASSWORD|SECRET", variable["name"])


@pytest.mark.parametrize("cluster", [{}, CLUSTER], ids=["defaults", "full"])
def test_what_tasks_have_in_common_is_written_once(tmp_path: Path, cluster: dict[str, Any]) -> None:
    """One executor for each component, image and settings; every task keeps its name and its component."""
    text, containers, _ = compiled(tmp_path, cluster)
    graph, platform = yaml.safe_load_all(text)
    executors = [json.dumps(one, sort_keys=True) for one in graph["deploymentSpec"]["executors"].values()]
    functions = [one["args"][one["args"].index("--function_to_execute") + 1] for one in containers.values()]
    assert len(executors) == len(set(executors)) == len(set(functions))
    assert set(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]) <= {
        one["executorLabel"] for one in graph["components"].values() if "executorLabel" in one
    }
    assert {"prune", "prune-qat", "evaluate-prune", "benchmark-tflm-prune"} <= set(containers)
    assert "def prune(" in containers["prune"]["command"][-1] == containers["prune-pruned24-int8"]["command"][-1]
    loaded = components.load_component_from_text(text)
    assert set(loaded.component_spec.inputs) >= {"model_uri", "epochs"}


def test_a_pipeline_that_a_cluster_would_not_store_is_refused(tmp_path: Path) -> None:
    """With what to do, and before the cluster says it in its own words."""
    recipes = {f"r{number}": ["prune", {"qat": {"epochs": number}}, "int8"] for number in range(1, 161)}
    parsed = {name: [parse_step(step) for step in steps] for name, steps in recipes.items()}
    spec = load_config(DIGITS).model_copy(update={"recipes": parsed})
    with pytest.raises(ConfigError, match=r"160 recipes on 3 targets: the compiled pipeline has .* bytes.*Split"):
        compile_for_cluster(spec, tmp_path / "pipeline.yaml")
    assert not (tmp_path / "pipeline.yaml").exists()


def test_a_failed_task_is_tried_again_with_backoff(tmp_path: Path) -> None:
    """Nodes get lost."""
    compiled(tmp_path, {"retries": 3})
    graph = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    policy = graph["components"]["comp-deliver-source"]["dag"]["tasks"]["evaluate-source"]["retryPolicy"]
    assert policy["maxRetryCount"] == 3
    assert policy["backoffDuration"] == "30s"


@pytest.mark.parametrize(
    ("cluster", "answer"),
    [
        ({"images": {"train": "registry.local/train"}}, "needs a fixed tag"),
        ({"images": {"edge": "registry.local/edge:latest"}}, "needs a fixed tag"),
        ({"components": {"benchmarks": {}}}, "did you mean 'benchmark'"),
        ({"env": {"MLFLOW_TRACKING_PASSWORD": "hunter2"}}, "looks like a secret"),
        ({"secrets": [{"name": "mlflow"}]}, "needs env"),
        ({"memory": "8 GB"}, "is not a Kubernetes quantity"),
    ],
)
def test_a_wrong_cluster_section_is_refused_with_the_reason(cluster: dict[str, Any], answer: str) -> None:
    """At once, not by the cluster an hour later."""
    with pytest.raises(ValidationError, match=answer):
        ClusterSpec.model_validate(cluster)


def test_the_section_knows_every_component() -> None:
    """The list of names in `litemill` and the folder `components/` are the same."""
    folder = {path.stem.replace("_", "-") for path in (ROOT / "litemill" / "components").glob("*.py")} - {
        "--init--",
        "images",
    }
    assert set(COMPONENTS) == folder
