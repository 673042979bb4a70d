"""`litemill …`: a recipe step by step from the shell gives what the pipeline's tasks give."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from litemill.artifacts.files import read_manifest
from litemill.cli.app import app
from litemill.errors import ConfigError
from litemill.evidence.outcome import Evaluation
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest

shell = CliRunner()
ROOT = Path(__file__).parents[2]
QUICK = '{"device": "host", "seconds": 0.1}'


@pytest.fixture
def config(tmp_path: Path, digits_model: Path) -> Path:
    """A run config of the digits."""
    path = tmp_path / "run.yaml"
    written = {
        "name": "shell",
        "model": {"uri": str(digits_model.parent / "digits.keras")},
        "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}, "limit": {"train": 512, "test": 100}},
        "training": {"epochs": 2, "batch_size": 16},
        "recipes": {"pruned": [{"prune": {"sparsity": 0.4}}, "int8"]},
    }
    path.write_text(yaml.safe_dump(written))
    return path


def run(*words: object) -> str:
    """Run a command and return what it showed."""
    done = shell.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_recipe_step_by_step(config: Path, tmp_path: Path) -> None:
    """Data, import, one train-aware step, conversion, evaluation: each reads what the one before wrote."""
    made = {name: tmp_path / name for name in ("data", "model", "base", "pruned", "variants", "baseline", "found")}
    run("check", config)
    run("prepare-data", config, "--out", made["data"])
    run("import-model", config, made["data"], "--out", made["model"], "--baseline", made["base"])
    asked = ["--config", config, "--set", "sparsity=0.4"]
    run("train", made["model"], made["data"], "prune", "--out", made["pruned"], *asked)
    small = ["--recipe", "small=int8", "--dataset", made["data"]]
    done = json.loads(run("convert", made["pruned"], "--out", made["variants"], *small, "--json"))
    run("evaluate", made["base"], made["data"], "--out", made["baseline"])
    shown = run("evaluate", made["variants"], made["data"], "--out", made["found"], "--reference", made["baseline"])
    timed = ["--target", QUICK, "--baseline", made["base"], "--dataset", made["data"], "--json"]
    measured = json.loads(run("benchmark", made["variants"], "--out", tmp_path / "host", *timed))
    assert (measured[0]["recipe"], measured[0]["status"]) == ("small", "ok")
    assert done["small"] == json.loads((made["variants"] / "small" / "variant.json").read_text())
    assert [record.step for record in read_manifest(made["pruned"] / "model.json", ModelManifest).steps] == ["prune"]
    assert read_manifest(made["variants"] / "small" / "variant.json", VariantManifest).scheme == "int8"
    found = read_manifest(made["found"] / "small" / "evaluation.json", Evaluation)
    assert found.drop is not None
    assert f"small: top1 {found.value:.4f}" in shown


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train", "m", "d", "pruen"], "did you mean 'prune'"),
        (["train", "m", "d", "prune", "--set", "sparsty=0.5"], "did you mean 'sparsity'"),
        (["train", "m", "d", "prune", "--set", "sparsity"], "is not KEY=VALUE"),
        (["train", "m", "d", "int8"], "'int8' converts a model"),
        (["convert", "m", "--recipe", "small=int9"], "--recipe small=int9: unknown step 'int9'"),
        (["evaluate", "v", "d", "--kernels", "refrence"], "did you mean 'reference'"),
        (["benchmark", "."], "needs --baseline, --dataset"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], answer: str
) -> None:
    """The folders, which are not there, are not even looked at."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=answer):
        shell.invoke(app, [*words, "--out", str(tmp_path / "out")], catch_exceptions=False)


def test_help_loads_nothing_that_computes() -> None:
    """Neither numpy nor pydantic nor Rich: `litemill --help` answers at once."""
    code = "import sys, litemill.cli.app; print([name for name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ast.literal_eval(done.stdout)}
    assert not loaded & {"numpy", "pydantic", "rich", "yaml", "kfp", "mlflow", "tensorflow"}


def test_a_plan_loads_no_kubeflow(config: Path) -> None:
    """A plan reads the model and the data, and runs nothing."""
    code = (
        f"import sys; from litemill.cli.app import app; app(['plan', {str(config)!r}, '--json'], standalone_mode=False)"
    )
    listing = f"{code}; print([name for name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ast.literal_eval(done.stderr.strip().splitlines()[-1])}
    assert not loaded & {"kfp", "mlflow", "tensorflow", "ai_edge_litert"}
    plan = json.loads(done.stdout)
    assert [model["name"] for model in plan["models"]] == ["source", "prune"]
    assert plan["models"][1]["recipes"] == {"pruned": "prune(sparsity=0.4) → int8"}
    assert "benchmark-host-prune" in plan["tasks"]


def test_every_command_whose_result_a_program_may_want_prints_json() -> None:
    """All but those whose result is a file that they were told to write."""
    without = {
        name
        for name, command in get_command(app).commands.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == {"compile", "components"}


def test_warnings_stay_out_of_the_json(config: Path) -> None:
    """Standard output is one document."""
    written = yaml.safe_load(config.read_text())
    written["data"]["limit"]["calibration"] = 2
    config.write_text(yaml.safe_dump(written))
    found = json.loads(run("check", config, "--json"))
    assert "the calibration set has 2 samples" in found["warnings"][0]
    assert "warning:" in run("check", config)
