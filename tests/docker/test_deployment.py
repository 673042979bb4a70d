"""What is deployed beside the images: pinned, without secrets, and callable by the names it will be called by."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
KUBERNETES = "1.33"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    return found


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DOCKER / "kubernetes" / "mlflow.yaml").read_text())}


def test_every_image_has_a_version(services: dict[str, Any], manifests: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()]
    images += [one["image"] for one in manifests["Deployment"]["spec"]["template"]["spec"]["containers"]]
    lock = (ROOT / "requirements.lock").read_text()
    version = re.search(r"^mlflow==([^ ;]+)", lock, re.MULTILINE)

    assert version
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    assert {image for image in images if "mlflow" in image} == {f"ghcr.io/litemill/mlflow:{version[1]}"}


def test_no_password_is_written_down(services: dict[str, Any]) -> None:
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert "${POSTGRES_PASSWORD:?" in services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    assert re.search(r"^POSTGRES_PASSWORD=$", (DOCKER / "env.example").read_text(), re.MULTILINE)
    ignored = subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_the_server_answers_to_the_names_that_tasks_and_people_use(
    services: dict[str, Any], manifests: dict[str, Any]
) -> None:
    container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    value = next(one["value"] for one in container["env"] if one["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS")
    on_cluster = value.replace("$(NAMESPACE)", "kubeflow").split(",")
    given = services["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"]
    on_one_machine = given.removeprefix("${MLFLOW_ALLOWED_HOSTS:-").removesuffix("}").split(",")

    for host in ("mlflow:5000", "mlflow.kubeflow.svc:5000", "localhost:5000"):
        assert any(fnmatch.fnmatch(host, allowed) for allowed in on_cluster)
    for host in ("mlflow:5000", "localhost:5000", "127.0.0.1:5000"):
        assert any(fnmatch.fnmatch(host, allowed) for allowed in on_one_machine)
    assert "*" not in on_cluster + on_one_machine


def test_the_cluster_takes_the_manifests(manifests: dict[str, Any]) -> None:
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_service_finds_the_server(manifests: dict[str, Any]) -> None:
    template = manifests["Deployment"]["spec"]["template"]
    container = template["spec"]["containers"][0]
    service = manifests["Service"]["spec"]

    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["ports"][0]["targetPort"] in {port["name"] for port in container["ports"]}
    claims = {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in template["spec"]["volumes"]}
    assert manifests["PersistentVolumeClaim"]["metadata"]["name"] in claims
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        one["name"] for one in template["spec"]["volumes"]
    }
    assert container["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.parametrize("name", ["train", "edge", "mlflow"])
def test_a_dockerfile_installs_from_the_lock_and_drops_root(name: str) -> None:
    text = (DOCKER / f"{name}.Dockerfile").read_text()

    assert text.count("ARG BASE_IMAGE=python:3.11-slim") == 1
    assert "--constraint requirements.lock" in text
    assert "--require-hashes" in text
    assert "--compile-bytecode" in text
    last = text[text.rindex("\nFROM ") :]
    assert "USER 10001:10001" in last
    assert "pip install" not in last
