"""Evaluation of a bundle: accuracy, pairing with the baseline, and what happens to what cannot be evaluated."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from litemill.artifacts.files import read_manifest, sha256_of, write_manifest
from litemill.artifacts.layout import EVALUATION, SAMPLES, TFLITE, VARIANT
from litemill.cli import app as cli
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.errors import ConfigError, InputError
from litemill.evaluate import evaluate_bundle
from litemill.evaluate.statistics import paired_proportion_difference
from litemill.evidence.outcome import Evaluation
from litemill.evidence.variant import VariantManifest
from litemill.runtime import Runner
from tests.workshop import digits, workshop, write_dataset

X, Y = digits()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, shop = tmp_path_factory.mktemp("evaluated"), workshop()
    shutil.copytree(shop.bundle / "float32", folder / "baseline/baseline")
    evaluate_bundle(folder / "baseline", shop.dataset, folder / "reference")
    evaluate_bundle(shop.bundle, shop.dataset, folder / "evaluation", folder / "reference")
    return folder / "reference", folder / "evaluation"


def test_the_baseline_has_the_accuracy_of_keras(evaluated: tuple[Path, Path]) -> None:
    found = read_manifest(evaluated[0] / "baseline" / EVALUATION, Evaluation)
    prediction = workshop().keras.predict(X[1200:], verbose=0).argmax(1)
    assert found.value == pytest.approx(np.mean(prediction == Y[1200:]))
    assert found.value > 0.85
    assert (found.drop, found.agreement, found.samples) == (None, None, 597)


def test_float32_loses_nothing_and_every_recipe_is_there(evaluated: tuple[Path, Path]) -> None:
    found = read_manifest(evaluated[1] / "float32" / EVALUATION, Evaluation)
    assert found.drop is not None
    assert (found.drop.value, found.agreement) == (0, 1)
    assert found.drop.ci[0] < 0 < found.drop.ci[1]
    assert sorted(path.name for path in evaluated[1].iterdir()) == sorted(workshop().manifests)


def test_the_drop_is_paired_by_sample(evaluated: tuple[Path, Path]) -> None:
    outcomes = {}
    for name, folder in (("int8", evaluated[1] / "int8"), ("baseline", evaluated[0] / "baseline")):
        with np.load(folder / SAMPLES, allow_pickle=False) as samples:
            outcomes[name] = samples["outcome"]
            assert np.array_equal(samples["outcome"], samples["prediction"] == Y[1200:])
    found = read_manifest(evaluated[1] / "int8" / EVALUATION, Evaluation)
    assert found.drop == paired_proportion_difference(outcomes["baseline"], outcomes["int8"])
    assert found.value == pytest.approx(outcomes["int8"].mean())


def test_reference_kernels_are_asked_for_on_the_shell_and_recorded(tmp_path: Path) -> None:
    shop, out = workshop(), tmp_path / "evaluation"
    shutil.copytree(shop.bundle / "int8", tmp_path / "variants/int8")
    command = ["evaluate", str(tmp_path / "variants"), str(shop.dataset), "--out", str(out), "--kernels"]
    done = CliRunner().invoke(cli.app, [*command, "reference"])
    assert done.exit_code == 0, done.output
    found = read_manifest(out / "int8" / EVALUATION, Evaluation)
    expected = Runner(shop.tflite("int8"), kernels="reference").run(X[1200:]).argmax(1)
    assert (found.kernels, found.value) == ("reference", pytest.approx(np.mean(expected == Y[1200:])))
    with np.load(out / "int8" / SAMPLES, allow_pickle=False) as samples:
        assert np.array_equal(samples["prediction"], expected)
    refused = CliRunner().invoke(cli.app, [*command, "fast"]).exception
    assert isinstance(refused, ConfigError) and refused.exit_code == 2


def test_confusion_and_per_class_fit_the_accuracy(evaluated: tuple[Path, Path]) -> None:
    found = read_manifest(evaluated[1] / "int8" / EVALUATION, Evaluation)
    confusion = np.array(found.confusion)
    assert confusion.sum(axis=1).tolist() == np.bincount(Y[1200:]).tolist()
    assert confusion.trace() / confusion.sum() == pytest.approx(found.value)
    assert found.per_class == pytest.approx((confusion.diagonal() / confusion.sum(axis=1)).tolist())
    assert found.sha256 == sha256_of(workshop().tflite("int8"))


def test_reference_kernels_are_named_and_close(tmp_path: Path, evaluated: tuple[Path, Path]) -> None:
    shop = workshop()
    found = evaluate_bundle(shop.bundle, shop.dataset, tmp_path / "out", evaluated[0], kernels="reference")
    assert {item.kernels for item in found.values()} == {"reference"}
    assert found["int8"].agreement is not None
    assert found["int8"].agreement > 0.95


def test_a_variant_that_cannot_run_fails_alone_and_failures_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = workshop()
    for recipe in ("int8", "float32"):
        shutil.copytree(shop.bundle / recipe, tmp_path / "variants" / recipe)
    path = tmp_path / "variants/int8" / TFLITE
    path.write_bytes(path.read_bytes()[:1000])
    manifest = read_manifest(path.with_name(VARIANT), VariantManifest)
    write_manifest(path.with_name(VARIANT), manifest.model_copy(update={"sha256": sha256_of(path)}))
    shutil.copytree(shop.bundle / "float16", tmp_path / "variants/float16")
    damaged = tmp_path / "variants/float16" / TFLITE
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    with monkeypatch.context() as hurried:
        hurried.setattr(import_module("litemill.convert.bundle"), "TIME_LIMIT", 0.05)
        convert_bundle(shop.model, {"late": [Step(name="float16")]}, tmp_path / "b")
    shutil.copytree(tmp_path / "b/late", tmp_path / "variants/late")
    found = evaluate_bundle(tmp_path / "variants", shop.dataset, tmp_path / "out")
    dead = dict.fromkeys(("float16", "int8", "late"), "failed")
    assert {name: item.status for name, item in found.items()} == {"float32": "ok", **dead}
    assert found["int8"].reason and "has digest" not in found["int8"].reason
    assert "model.tflite: has digest" in found["float16"].reason, "it is not the file that was converted"
    assert found["late"].reason == "took more than 0.05 s and was ended"


def test_more_classes_than_outputs_are_told_and_fewer_are_a_sample(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"test": (X[:5], np.arange(5) + 6)}, classes=11)
    found = evaluate_bundle(workshop().bundle, dataset, tmp_path / "out")
    assert {item.reason for item in found.values()} == {"the model has 10 outputs, the data 11 classes"}
    few = write_dataset(tmp_path / "few", {"test": (X[Y < 3], Y[Y < 3])}, classes=3)
    found = evaluate_bundle(workshop().bundle, few, tmp_path / "judged")
    assert found["float32"].value > 0.9
    assert found["float32"].per_class[3:] == [None] * 7, "no sample tells of them"


def test_a_reference_on_other_samples_is_refused(tmp_path: Path, evaluated: tuple[Path, Path]) -> None:
    dataset = write_dataset(tmp_path / "data", {"test": (X[:5], Y[:5])}, classes=10)
    with pytest.raises(InputError, match="the baseline was evaluated on other samples"):
        evaluate_bundle(workshop().bundle, dataset, tmp_path / "out", evaluated[0])
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no variants"):
        evaluate_bundle(tmp_path, workshop().dataset, tmp_path / "out")
