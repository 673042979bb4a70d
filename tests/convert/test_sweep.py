"""`litemill calibrate`: accuracy by number of samples, the samples that stretch a range, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from litemill.cli.app import app
from litemill.convert.stretch import INPUT, find_stretches
from litemill.data.sampling import balanced_order
from litemill.errors import ConfigError
from tests.workshop import digits, workshop, write_dataset

X, Y = digits()
shell = CliRunner()


def test_every_beginning_of_the_order_is_balanced() -> None:
    labels = np.array([0] * 50 + [1] * 20 + [2] * 3)
    order = balanced_order(labels, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(73))
    assert np.bincount(labels[order[:9]]).tolist() == [3, 3, 3]
    assert np.bincount(labels[order[:43]]).tolist() == [20, 20, 3]
    assert not np.array_equal(order, balanced_order(labels, np.random.default_rng(1)))


def test_the_sample_that_stretches_a_range_is_named_with_how_much() -> None:
    samples = X[:40].copy()
    samples[7] *= 3
    found = find_stretches(workshop().tflite("float32"), samples)
    assert found[0].widens == max(one.widens for one in found)
    assert {one.sample for one in found[:2]} == {7}
    (of_input,) = [one for one in found if one.op == INPUT]
    assert (of_input.sample, of_input.value_range, of_input.range_without) == (7, (0.0, 3.0), (0.0, 1.0))
    assert of_input.widens == pytest.approx(2.0)


@pytest.mark.e2e
def test_the_sweep_shows_accuracy_agreement_and_the_interval(tmp_path: Path) -> None:
    samples = X[:100].copy()
    samples[11] *= 4
    splits = {"train": (X[:1200], Y[:1200]), "calibration": (samples, Y[:100]), "test": (X[1200:], Y[1200:])}
    dataset = write_dataset(tmp_path / "data", splits, classes=10)
    folders = ["--model", str(workshop().model), "--dataset", str(dataset)]
    done = shell.invoke(app, ["calibrate", *folders, "--counts", "1,50", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    study = json.loads(done.output)
    one, fifty = study["points"]
    assert (one["samples"], fifty["samples"]) == (1, 50)
    assert fifty["value"] > 0.9 and fifty["agreement"] > 0.9
    assert fifty["drop"]["ci"][0] <= fifty["drop"]["value"] <= fifty["drop"]["ci"][1]
    assert fifty["drop"]["value"] == pytest.approx(study["baseline"] - fifty["value"])
    worst = study["stretches"][0]
    assert (worst["sample"], worst["label"]) == (11, int(Y[11]))
    answer = shell.invoke(app, ["calibrate", *folders], catch_exceptions=False).output
    assert "100 calibration samples in [0, 4], training samples in [0, 1]" in answer
    assert "levels are left unused" in answer


@pytest.mark.e2e
def test_a_run_config_is_enough(digits_model: Path, tmp_path: Path) -> None:
    config = {
        "name": "calibrated",
        "model": {"uri": str(digits_model.parent / "digits.keras")},
        "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}},
        "recipes": {"int8": ["int8"]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))

    words = ["calibrate", str(tmp_path / "run.yaml"), "--counts", "10,100", "--json"]
    done = shell.invoke(app, words, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    study = json.loads(done.output)
    assert [point["samples"] for point in study["points"]] == [10, 100]
    assert study["points"][1]["agreement"] > 0.95


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--counts", "1,x"], "are not numbers with commas between them"),
        (["--scheme", "float16"], "'float16' does not calibrate"),
        (["--counts", "5000"], "5000 calibration samples were asked for, the split has 100"),
    ],
)
def test_a_wrong_wish_is_told_before_any_conversion(words: list[str], answer: str) -> None:
    folders = ["--model", str(workshop().model), "--dataset", str(workshop().dataset)]
    with pytest.raises(ConfigError, match=answer):
        shell.invoke(app, ["calibrate", *folders, *words], catch_exceptions=False)


def test_it_needs_a_model_and_data() -> None:
    with pytest.raises(ConfigError, match="needs a run config, or --model and --dataset"):
        shell.invoke(app, ["calibrate"], catch_exceptions=False)
