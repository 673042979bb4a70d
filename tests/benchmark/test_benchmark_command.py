"""`litemill benchmark` and `litemill devices` as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from litemill.cli import console
from litemill.cli.app import app
from litemill.errors import ConfigError, InputError

shell = CliRunner()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that breaks no sentence."""
    monkeypatch.setattr(console, "out", Console(width=400))


def run(*words: object) -> Result:
    return shell.invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def files(bundle: Path) -> list[Path]:
    return [bundle / recipe / "model.tflite" for recipe in ("float32", "int8")]


def test_files_are_measured_side_by_side(files: list[Path], digits_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    done = run("benchmark", *files, "--samples", digits_dataset / "test" / "x.npy", "--threads", 2, "--out", out)
    assert done.exit_code == 0, done.output
    assert "× first" in done.output and "int8/model.tflite" in done.output
    first, second = json.loads(out.read_text())
    assert (first["status"], second["status"]) == ("ok", "ok")
    assert second["ratio_to_float32"]["value"] > 0 and second["parity"]["ok"]
    assert second["device"]["threads"] == 2


def test_a_target_that_refuses_everything_ends_with_1_and_says_why(files: list[Path]) -> None:
    done = run("benchmark", files[0], "--target", "ethos-u55-128")
    assert done.exit_code == 1
    assert "no op of it runs on the NPU" in done.output


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--target", "hots"], "target: unknown target 'hots'; did you mean 'host'?"),
        (["--target", "tflm", "--threads", "2"], "tflm does not take 'threads'"),
        (["--accelerator", "tpu"], "unknown accelerator 'tpu'"),
    ],
)
def test_a_wrong_target_is_wrong_usage(arguments: list[str], answer: str, files: list[Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        run("benchmark", files[0], *arguments)
    assert answer in str(caught.value)


def test_samples_that_do_not_fit_are_refused(files: list[Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    with pytest.raises(InputError, match=r"takes \[8, 8, 1\], the samples are \[3\]"):
        run("benchmark", files[0], "--samples", tmp_path / "x.npy")
    (tmp_path / "no.tflite").write_text("no")
    with pytest.raises(InputError, match=r"is no \.tflite file"):
        run("benchmark", tmp_path / "no.tflite")


def test_devices_lists_what_is_there(tmp_path: Path) -> None:
    done = run("devices")
    assert done.exit_code == 0, done.output
    for name in ("host", "tflm", "ethos-u55-128", "ai-edge-litert", "ethos-u-vela", "accelerators cpu cpu-reference"):
        assert name in done.output
    config = tmp_path / "run.yaml"
    config.write_text(
        "name: t\nmodel: {uri: m.keras}\ndata: {kind: digits}\nrecipes: {int8: [int8]}\n"
        "targets: [tflm, {name: lost, device: 'ssh://127.0.0.1:1'}]\n"
    )
    done = run("devices", config)
    assert done.exit_code == 1
    assert "nothing listens on its ssh port" in done.output
