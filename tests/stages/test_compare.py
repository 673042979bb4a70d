"""Variants are compared from the folders that single steps wrote, without MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import litemill as lm
from litemill.artifacts.files import read_manifest, write_manifest
from litemill.artifacts.layout import EVALUATION, MEASUREMENT, RESULTS
from litemill.artifacts.proof import DamagedFile
from litemill.cli.app import app
from litemill.errors import ConfigError, InputError
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.select.results import Results
from tests.made_evidence import FASHION, write_bundle

BUDGET = {"max_accuracy_drop": 0.005, "max_size_bytes": 120_000}


def test_folders_of_several_models_are_judged_ranked_and_reported(tmp_path: Path) -> None:
    one, other = write_bundle(tmp_path / "one", FASHION[:5]), write_bundle(tmp_path / "other", FASHION[5:])
    bundles, evaluations, measured = ([first, second] for first, second in zip(one, other, strict=True))
    results = lm.compare(bundles, evaluations, measured, budget=BUDGET, out=tmp_path / "out", name="fashion")
    assert (results.winner, results.variants[0].rank) == ("dynamic", 1)
    assert results.baseline == pytest.approx(0.9191, abs=1e-4)
    assert results.higher_is_better
    assert read_manifest(tmp_path / "out" / RESULTS, Results) == results
    found = {item.relative_to(tmp_path / "out").as_posix() for item in (tmp_path / "out").rglob("*") if item.is_file()}
    assert {"report.html", "summary.md", "variants/pcqat/model.tflite", "variants/pcqat/measurement.host.json"} <= found
    assert not any(name.endswith("samples.npz") for name in found)
    (failed,) = [row for row in results.variants if row.status == "failed"]
    assert failed.reason == FASHION[8].reason


def test_what_is_missing_is_named_with_its_true_error_and_the_rest_is_compared(tmp_path: Path) -> None:
    variants, evaluation, measured = write_bundle(tmp_path, FASHION[:5])
    lost, unevaluated, unmeasured = (made.recipe for made in FASHION[:3])
    reason = "task evaluate-source failed: killed by SIGKILL"
    write_manifest(evaluation / lost / EVALUATION, Evaluation(recipe=lost, status="failed", reason=reason))
    (evaluation / unevaluated / EVALUATION).unlink()
    broken = Measurement(recipe=unmeasured, target="host", status="failed", reason="the host is gone")
    write_manifest(measured / unmeasured / MEASUREMENT, broken)
    results = lm.compare(variants, evaluation, measured, objective="latency:host", out=tmp_path / "out")
    rows = {row.recipe: row for row in results.variants}
    assert (rows[lost].status, rows[lost].reason) == ("failed", f"evaluation failed: {reason}")
    assert (rows[unevaluated].status, rows[unevaluated].reason) == ("failed", "it was not evaluated")
    assert rows[unmeasured].verdict == "inconclusive" and "the host is gone" in rows[unmeasured].reason
    assert results.winner in {made.recipe for made in FASHION[3:5]}
    assert "SIGKILL" in (tmp_path / "out" / "summary.md").read_text()


def test_files_and_evidence_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """A file that was damaged, and evidence about an earlier file of the same recipe."""
    variants, evaluation, measured = write_bundle(tmp_path, FASHION[:2])
    recipe, out = FASHION[0].recipe, tmp_path / "out"
    for place, kind, name in ((evaluation, Evaluation, EVALUATION), (measured, Measurement, MEASUREMENT)):
        file = place / recipe / name
        about = read_manifest(file, kind)
        write_manifest(file, about.model_copy(update={"sha256": "0" * 64}))
        with pytest.raises(InputError, match=f"{recipe}/{name}: is about a file with digest 000000000000"):
            lm.compare(variants, evaluation, measured, out=out)
        write_manifest(file, about)
    tflite = variants / recipe / "model.tflite"
    tflite.write_bytes(tflite.read_bytes() + b"\0")
    with pytest.raises(DamagedFile, match=f"{recipe}/model.tflite: has digest"):
        lm.compare(variants, evaluation, measured, out=out)
    assert not out.exists()


def test_the_command_ranks_and_its_exit_code_says_whether_there_is_something_to_ship(tmp_path: Path) -> None:
    variants, evaluation, measured = write_bundle(tmp_path, FASHION[:5])
    run = {"name": "fashion", "model": {"uri": "m.keras"}, "data": {"kind": "digits"}, "recipes": {"int8": ["int8"]}}
    folders = ["--variants", str(variants), "--evaluation", str(evaluation), "--measurement", str(measured)]
    for budget, code in ((BUDGET, 0), ({"max_size_bytes": 10}, 3)):
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(run | {"budget": budget}))
        out = tmp_path / f"out-{code}"
        done = CliRunner().invoke(app, ["compare", str(tmp_path / "run.yaml"), str(out), *folders])
        assert done.exit_code == code, done.output
        results = read_manifest(out / RESULTS, Results)
        assert results.reason in done.output.replace("\n", " ")


def test_wrong_folders_and_words_are_told_before_anything_is_written(tmp_path: Path) -> None:
    variants, evaluation, _ = write_bundle(tmp_path, FASHION[:2])
    out = tmp_path / "out"
    with pytest.raises(InputError, match="two bundles hold the recipe"):
        lm.compare([variants, variants], [evaluation, evaluation], out=out)
    with pytest.raises(InputError, match="2 folders of variants and 1 of evaluations"):
        lm.compare([variants, variants], evaluation, out=out)
    with pytest.raises(InputError, match="holds no variant"):
        lm.compare(evaluation, evaluation, out=out)
    with pytest.raises(ConfigError, match="max_accuracy_dorp"):
        lm.compare(variants, evaluation, budget={"max_accuracy_dorp": 1}, out=out)
    assert not out.exists()


def test_comparing_imports_neither_mlflow_nor_tensorflow() -> None:
    code = "import sys, litemill as lm; lm.compare; print(sorted({'mlflow', 'tensorflow', 'kfp'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
