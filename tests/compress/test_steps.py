"""What each train-aware step leaves in its artifact, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import KERAS_MODEL, MODEL
from litemill.config.run import DataSpec, Limit, Training
from litemill.config.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.store import load_model, save_model
from tests.workshop import saved, take

TRAINING = Training(epochs=2, batch_size=64, learning_rate=2e-3)
BRIEF = Training(epochs=1, batch_size=64, learning_rate=2e-3)
BIG = "conv2d_2"
"""The one layer of the digits model that is neither first, last nor small."""

Step = Callable[[str], Path]


def manifest(folder: Path) -> ModelManifest:
    return read_manifest(folder / MODEL, ModelManifest)


def accuracy(folder: Path, dataset: Path) -> float:
    """Of the SavedModel on the test split."""
    test = Splits.open(dataset).test
    loaded = tensorflow().saved_model.load(str(folder / "saved_model"))
    outputs = loaded.serve(test.x[:])
    return float(np.mean(np.argmax(next(iter(outputs.values())), axis=1) == test.y))


@pytest.mark.parametrize("name", ["finetune", "prune", "prune24", "cluster", "qat", "prune-cluster-qat"])
def test_a_step_keeps_the_accuracy_and_records_itself(name: str, step: Step, digits_dataset: Path) -> None:
    made = manifest(step(name))
    assert (made.status, made.reason) == ("ok", "")
    assert [record.step for record in made.steps] == [part.removesuffix("24") for part in name.split("-")]
    assert made.data_sha256 == Splits.open(digits_dataset).manifest.splits["train"].x_sha256
    assert all(record.measured["training"]["steps"] == 36 for record in made.steps)
    assert accuracy(step(name), digits_dataset) > accuracy(step(""), digits_dataset) - 0.03


def test_pruning_reaches_its_sparsity_in_a_short_training(step: Step) -> None:
    """A schedule longer than the training would prune nothing, silently."""
    kernel = load_model(step("prune")).get_layer(BIG).kernel.numpy()
    assert np.mean(kernel == 0) == pytest.approx(0.5, abs=0.001)
    measured = manifest(step("prune")).steps[0].measured
    assert measured["layers"][BIG]["sparsity"] == pytest.approx(0.5, abs=0.001)


def test_sensitive_and_small_layers_are_left_alone_and_it_says_so(step: Step) -> None:
    measured = manifest(step("prune")).steps[0].measured
    assert measured["left_alone"] == {
        "conv2d": "first layer, sensitive",
        "depthwise_conv2d": "DepthwiseConv2D is not supported",
        "conv2d_1": "only 128 weights",
        "scores": "last layer, sensitive",
    }
    assert list(measured["layers"]) == [BIG]


def test_the_pattern_holds_in_each_group(step: Step) -> None:
    kernel = load_model(step("prune24")).get_layer(BIG).kernel.numpy()
    groups = np.moveaxis(kernel, 2, -1).reshape(-1, 4)
    assert ((groups == 0).sum(axis=1) >= 2).all()


def test_clustering_shares_values_and_keeps_the_zeros_of_pruning(step: Step) -> None:
    for name in ("cluster", "prune-cluster"):
        assert len(np.unique(load_model(step(name)).get_layer(BIG).kernel.numpy())) <= 16
    kernel = load_model(step("prune-cluster")).get_layer(BIG).kernel.numpy()
    assert np.mean(kernel == 0) >= 0.48


def test_training_after_pruning_keeps_zeros_in_layers_that_clustering_does_not_touch(
    step: Step, digits_dataset: Path, tmp_path: Path
) -> None:
    model = load_model(step("prune"))
    small = model.get_layer("conv2d_1")
    (kernel,) = small.get_weights()
    small.set_weights([np.where(np.arange(kernel.size).reshape(kernel.shape) % 2, kernel, 0)])
    save_model(model, manifest(step("prune")), tmp_path / "pruned")
    take(tmp_path / "pruned", digits_dataset, ClusterOptions(include=[BIG]), BRIEF, tmp_path / "clustered")
    trained = load_model(tmp_path / "clustered").get_layer("conv2d_1").kernel.numpy()
    assert np.mean(trained == 0) == 0.5
    assert (trained != small.kernel.numpy()).any()


def test_the_model_that_came_in_is_not_changed(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    """`cluster_weights` changes the model it is given: later steps of the same model must not see that."""
    before = (step("") / KERAS_MODEL).read_bytes()
    step("cluster")
    step("qat")
    assert (step("") / KERAS_MODEL).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("qat", "QAT"),
        ("prune-cluster-qat", "PCQAT"),
        pytest.param("prune-qat", "PQAT", marks=pytest.mark.e2e),
        pytest.param("cluster-qat", "CQAT", marks=pytest.mark.e2e),
    ],
)
def test_the_method_of_qat_follows_from_the_steps_so_far(name: str, method: str, step: Step) -> None:
    assert manifest(step(name)).steps[-1].measured["method"] == method


def test_too_few_steps_fail_the_recipe(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    short = Training(epochs=1, batch_size=512)
    made = take(step(""), digits_dataset, PruneOptions(), short, tmp_path / "out")
    assert made.status == "failed"
    assert made.reason.startswith("prune: 2 training steps are too few to prune in")
    assert manifest(tmp_path / "out") == made


def test_a_failed_model_is_passed_on_with_its_reason(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    failed = take(step(""), digits_dataset, PruneOptions(include=["conv_9"]), TRAINING, tmp_path / "pruned")
    assert "no layer is named 'conv_9' or of that type" in failed.reason
    passed = take(tmp_path / "pruned", digits_dataset, QatOptions(), TRAINING, tmp_path / "qat")
    assert (passed.status, passed.reason) == ("failed", failed.reason)
    assert [record.step for record in passed.steps] == ["prune", "qat"]


def test_a_loss_that_explodes_fails_the_recipe(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    wild = Training(epochs=1, batch_size=64, optimizer="sgd").model_copy(update={"learning_rate": 1e30})
    made = take(step(""), digits_dataset, FinetuneOptions(), wild, tmp_path / "out")
    assert made.status == "failed"
    assert "the loss became nan in epoch 1" in made.reason


def test_block_sparsity_of_a_dense_layer(digits_dataset: Path, tmp_path: Path) -> None:
    keras = tf_keras()
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(32, name="first")]
    model = keras.Sequential([*layers, keras.layers.Dense(32, name="wide"), keras.layers.Dense(10)])
    options = PruneOptions(block=(1, 4), sparsity=0.75, schedule="constant")
    all_of_it = TRAINING.model_copy(update={"validation": 0.0})
    made = take(saved(model, tmp_path / "source"), digits_dataset, options, all_of_it, tmp_path / "out")
    assert made.status == "ok", made.reason
    assert set(made.steps[0].measured["training"]) == {"epochs", "steps", "loss", "accuracy"}
    blocks = (load_model(tmp_path / "out").get_layer("wide").kernel.numpy() == 0).reshape(32, 8, 4).sum(axis=2)
    assert set(np.unique(blocks)) == {0, 4}


@pytest.mark.e2e
def test_clusters_by_channel(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    options = ClusterOptions(clusters=4, per_channel=True, initialization="linear")
    made = take(step(""), digits_dataset, options, TRAINING, tmp_path / "out")
    assert made.status == "ok", made.reason
    kernel = load_model(tmp_path / "out").get_layer(BIG).kernel.numpy()
    assert max(len(np.unique(kernel[..., channel])) for channel in range(32)) <= 4
    assert len(np.unique(kernel)) > 4


@pytest.mark.e2e
@pytest.mark.parametrize("initialization", ["linear", "density", "random"])
def test_initializations(initialization: Any, step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    options = ClusterOptions(clusters=32, initialization=initialization)
    brief = Training(epochs=1, batch_size=128, learning_rate=1e-3)
    made = take(step(""), digits_dataset, options, brief, tmp_path / "out")
    assert made.status == "ok", made.reason


def test_a_regressor_is_refused_with_its_output_shape(digits_dataset: Path, tmp_path: Path) -> None:
    keras = tf_keras()
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    made = take(saved(model, tmp_path / "source"), digits_dataset, FinetuneOptions(), TRAINING, tmp_path / "out")
    assert "gives outputs of shape [1] for data with 10 classes" in made.reason


def test_a_regressor_is_pruned(tmp_path: Path) -> None:
    """Targets are numbers, and there is no accuracy to report."""
    random = np.random.default_rng(0)
    x = random.normal(size=(640, 6)).astype(np.float32)
    arrays = {"x_train": x[:512], "x_test": x[512:]}
    targets = (x @ random.normal(size=(6, 1)))[:, 0].astype(np.float32)
    np.savez(tmp_path / "data.npz", **arrays, y_train=targets[:512], y_test=targets[512:])
    spec = DataSpec(kind="npz", uri=str(tmp_path / "data.npz"), task="regression", limit=Limit(calibration=64))
    prepare_data(spec, 0, tmp_path / "dataset")
    keras = tf_keras()
    layers = [keras.layers.Input((6,)), *(keras.layers.Dense(32, activation="relu") for _ in range(2))]
    source = saved(keras.Sequential([*layers, keras.layers.Dense(1)]), tmp_path / "source")
    wanted = Training(epochs=4, batch_size=32, learning_rate=0.01)
    made = take(source, tmp_path / "dataset", PruneOptions(), wanted, tmp_path / "out")
    assert made.status == "ok", made.reason
    answer = made.steps[0].measured["training"]
    assert set(answer) == {"epochs", "steps", "loss", "val_loss"}
    assert answer["val_loss"] < 0.5 * targets.var()
