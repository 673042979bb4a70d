"""A child run for each recipe, with the file, its evidence and figures to sort by."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import EVALUATION, MEASUREMENT
from litemill.artifacts.proof import DamagedFile
from litemill.config.names import file_name
from litemill.errors import InputError
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.track import log_variants, start_run, tracking_uri
from litemill.track.runs import NOTE, PARENT, REASON
from tests.made_evidence import FASHION, write_bundle

PCQAT, FAILED = FASHION[7], FASHION[8]


@pytest.fixture
def logged(store: Path, tmp_path: Path) -> dict[str, str]:
    """Run ids by recipe of a bundle with one good and one failed recipe."""
    parent = start_run("fashion", {}, pipeline_run_id="p1")
    variants, evaluation, measured = write_bundle(tmp_path / "in", (PCQAT, FAILED))
    ids = log_variants(parent, variants, evaluation, [measured])
    client = MlflowClient(tracking_uri=tracking_uri())
    return {"parent": parent} | {client.get_run(run_id).info.run_name: run_id for run_id in ids}


def test_a_variant_is_a_child_run_with_recipe_figures_and_files(logged: dict[str, str], tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=tracking_uri())
    run = client.get_run(logged["pcqat"])

    assert run.info.status == "FINISHED"
    assert run.data.tags[PARENT] == logged["parent"]
    assert run.data.params["steps"] == "prune → cluster → qat → int8"
    assert run.data.params["prune.sparsity"] == "0.5"
    assert run.data.params["cluster.clusters"] == "16"
    assert run.data.params["int8.io"] == "int8"
    assert run.data.metrics["accuracy"] == pytest.approx(0.92)
    assert run.data.metrics["accuracy_drop_ci_low"] < run.data.metrics["accuracy_drop"]
    assert run.data.metrics["gzip_bytes"] == 47_300
    assert run.data.metrics["host/latency_p50_ms"] == pytest.approx(0.372)
    assert run.data.metrics["host/ratio_to_float32_ci_high"] > run.data.metrics["host/ratio_to_float32"]

    files = {item.path for item in client.list_artifacts(logged["pcqat"])}
    evidence = {"variant.json", "evaluation.json", "samples.npz", "measurement.host.json"}
    assert files == {"model.tflite", "confusion.svg", "per_class.csv", *evidence}
    copy = client.download_artifacts(logged["pcqat"], "model.tflite", str(tmp_path))
    assert Path(copy).read_bytes() == PCQAT.tflite


def test_a_failed_recipe_is_a_failed_run_that_says_why(logged: dict[str, str]) -> None:
    run = MlflowClient(tracking_uri=tracking_uri()).get_run(logged["qat-int8"])

    assert run.info.status == "FAILED"
    assert run.data.tags[REASON] == FAILED.reason
    assert f"**Failed.** {FAILED.reason}" in run.data.tags[NOTE]
    assert "size_bytes" not in run.data.metrics


def test_a_retried_task_replaces_its_runs(logged: dict[str, str], tmp_path: Path) -> None:
    again = log_variants(
        logged["parent"],
        *(tmp_path / "in" / name for name in ("variants", "evaluation")),
        [tmp_path / "in/measurement"],
    )

    client = MlflowClient(tracking_uri=tracking_uri())
    experiment = client.get_run(logged["parent"]).info.experiment_id
    alive = client.search_runs([experiment], filter_string=f"tags.`{PARENT}` = '{logged['parent']}'")
    assert {run.info.run_id for run in alive} == set(again)
    assert logged["pcqat"] not in again


def test_a_failed_measurement_leaves_the_variant_good_and_its_reason_readable(store: Path, tmp_path: Path) -> None:
    variants, evaluation, measured = write_bundle(tmp_path, (PCQAT,))
    write_manifest(
        tmp_path / "pi" / "pcqat" / MEASUREMENT,
        Measurement(recipe="pcqat", target="ssh://pi@lab", status="failed", reason="host key changed"),
    )
    parent = start_run("fashion", {}, pipeline_run_id="p1")

    (run_id,) = log_variants(parent, variants, evaluation, [measured, tmp_path / "pi"])

    client = MlflowClient(tracking_uri=tracking_uri())
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["litemill.ssh_pi_lab.reason"] == "host key changed"
    assert "**ssh://pi@lab failed.** host key changed" in run.data.tags[NOTE]
    assert "measurement.ssh_pi_lab.json" in {item.path for item in client.list_artifacts(run_id)}


def test_a_figure_that_is_no_number_is_left_out(store: Path, tmp_path: Path) -> None:
    variants, evaluation, measured = write_bundle(tmp_path, (PCQAT,))
    file = evaluation / "pcqat" / EVALUATION
    broken = read_manifest(file, Evaluation).model_copy(update={"value": float("inf")})
    file.write_text(broken.model_dump_json().replace('"value":null', '"value":1e999'))
    parent = start_run("fashion", {}, pipeline_run_id="p1")

    (run_id,) = log_variants(parent, variants, evaluation, [measured])

    assert "accuracy" not in MlflowClient(tracking_uri=tracking_uri()).get_run(run_id).data.metrics


def test_a_damaged_file_is_not_logged(store: Path, tmp_path: Path) -> None:
    variants, evaluation, measured = write_bundle(tmp_path, (PCQAT,))
    file = variants / "pcqat" / "model.tflite"
    file.write_bytes(file.read_bytes()[:-1])
    parent = start_run("fashion", {}, pipeline_run_id="p1")

    with pytest.raises(DamagedFile, match=r"pcqat/model\.tflite: has digest"):
        log_variants(parent, variants, evaluation, [measured])

    client = MlflowClient(tracking_uri=tracking_uri())
    experiment = client.get_run(parent).info.experiment_id
    assert client.search_runs([experiment], filter_string=f"tags.`{PARENT}` = '{parent}'") == []


def test_an_empty_bundle_is_told(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no variant"):
        log_variants("any", tmp_path, tmp_path, [])


@pytest.mark.parametrize(
    ("target", "expected"), [("host", "host"), ("ssh://pi@lab:22", "ssh_pi_lab_22"), ("ethos-u55-128", "ethos-u55-128")]
)
def test_a_target_gives_a_plain_name(target: str, expected: str) -> None:
    assert file_name(target) == expected
