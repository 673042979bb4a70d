"""`litemill …`: a recipe step by step from the shell gives what the pipeline's tasks give."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from litemill.artifacts.files import read_manifest
from litemill.cli.app import app
from litemill.errors import ConfigError
from litemill.evidence import Evaluation, ModelManifest, VariantManifest

shell = CliRunner()


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
    run("data", config, made["data"])
    run("import", config, made["data"], made["model"], made["base"])
    run("step", "prune", config, made["model"], made["data"], made["pruned"], "--set", "sparsity=0.4")
    run("convert", made["pruned"], made["variants"], "--recipe", "small=int8", "--dataset", made["data"])
    run("evaluate", made["base"], made["data"], made["baseline"])
    shown = run("evaluate", made["variants"], made["data"], made["found"], "--reference", made["baseline"])
    assert [record.step for record in read_manifest(made["pruned"] / "model.json", ModelManifest).steps] == ["prune"]
    assert read_manifest(made["variants"] / "small" / "variant.json", VariantManifest).scheme == "int8"
    found = read_manifest(made["found"] / "small" / "evaluation.json", Evaluation)
    assert found.drop is not None
    assert f"small: top1 {found.value:.4f}" in shown


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["step", "pruen"], "did you mean 'prune'"),
        (["step", "prune", "--set", "sparsty=0.5"], "did you mean 'sparsity'"),
        (["step", "prune", "--set", "sparsity"], "is no KEY=VALUE"),
    ],
)
def test_a_wrong_step_is_told_before_anything_is_loaded(
    config: Path, tmp_path: Path, words: list[str], answer: str
) -> None:
    """The folders are not even looked at."""
    name, step, *options = words
    with pytest.raises(ConfigError, match=answer):
        shell.invoke(
            app,
            [name, step, str(config), *[str(tmp_path)] * 2, str(tmp_path / "out"), *options],
            catch_exceptions=False,
        )
