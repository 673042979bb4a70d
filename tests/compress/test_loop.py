"""The fine-tuning loop: resuming, what it draws, what it minimises, when it stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.compress.batch_norm import refresh_batch_norm
from litemill.compress.batches import Batches, augment, hold_out
from litemill.compress.checkpoint import Checkpoints, Snapshot
from litemill.compress.layers import copy_model
from litemill.compress.loop import make_optimizer
from litemill.compress.objective import Criterion, criterion_of, objective
from litemill.compress.qat import quantize
from litemill.compress.ranges import calibrate_ranges
from litemill.config.run import Augmentation, Distillation, Training
from litemill.config.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions, TrainOptions
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.store import load_model, save_model
from tests.workshop import take

Step = Callable[[str], Path]

FULL = Training(
    epochs=3,
    batch_size=64,
    learning_rate=2e-3,
    early_stop=2,
    distillation=Distillation(weight=0.3),
    augmentation=Augmentation(shift=1, flip=True),
)
"""Everything that has a state to resume: optimizer, schedule, order, augmentation, early stopping, a teacher."""

RUNS: dict[str, tuple[TrainOptions, str]] = {
    "finetune": (FinetuneOptions(), ""),
    "prune": (PruneOptions(), ""),
    "cluster": (ClusterOptions(initialization="random"), "prune"),
    "qat": (QatOptions(), "prune-cluster"),
}


class Killed(BaseException):
    """Stands for a kill between two epochs."""


@pytest.fixture(scope="module")
def noisy(step: Step, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model with a dropout layer, whose draws must be resumed too."""
    keras = tf_keras()
    model = load_model(step(""))
    dropped = keras.layers.Dropout(0.3)(model.layers[-2].output)
    out = keras.layers.Dense(10, activation="softmax")(dropped)
    folder = tmp_path_factory.mktemp("noisy") / "model"
    save_model(keras.Model(model.input, out), ModelManifest(origin="noisy", origin_sha256="0" * 64), folder)
    return folder


@pytest.mark.parametrize(
    "name",
    ["qat", "dropout", *(pytest.param(name, marks=pytest.mark.e2e) for name in ("finetune", "prune", "cluster"))],
)
def test_a_killed_step_resumes_to_the_same_weights(
    name: str, step: Step, noisy: Path, digits_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, before = RUNS.get(name, RUNS["finetune"])
    model = noisy if name == "dropout" else step(before)
    monkeypatch.setenv("LITEMILL_CHECKPOINTS", str(tmp_path / "first"))
    whole = take(model, digits_dataset, options, FULL, tmp_path / "whole", step(""))
    assert whole.status == "ok", whole.reason

    monkeypatch.setenv("LITEMILL_CHECKPOINTS", str(tmp_path / "second"))
    save, saved, drawn = Checkpoints.save, list[int](), list[int]()

    def save_and_die(self: Checkpoints, snapshot: Snapshot) -> None:
        save(self, snapshot)
        saved.append(len(snapshot.epochs))
        if saved == [1, 2]:
            raise Killed

    epoch = Batches.epoch
    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    with pytest.raises(Killed):
        take(model, digits_dataset, options, FULL, tmp_path / "resumed", step(""))
    assert not (tmp_path / "resumed").exists()
    monkeypatch.setattr(Batches, "epoch", lambda self, number: drawn.append(number) or epoch(self, number))
    resumed = take(model, digits_dataset, options, FULL, tmp_path / "resumed", step(""))
    assert drawn == [2]
    assert resumed.sha256 == whole.sha256
    assert resumed.steps[-1].measured == whole.steps[-1].measured
    assert not list((tmp_path / "second").rglob("*.npz"))


def test_a_damaged_checkpoint_starts_anew(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "one")
    assert checkpoints.load() is None
    checkpoints.save(Snapshot([{"loss": 1.0}], [np.zeros(3)], [np.ones(2)]))
    loaded = checkpoints.load()
    assert loaded is not None
    assert (loaded.epochs, loaded.arrays[0].tolist(), loaded.best[0].tolist()) == ([{"loss": 1.0}], [0, 0, 0], [1, 1])
    next((tmp_path / "one").glob("*.npz")).write_bytes(b"PK damaged")
    assert checkpoints.load() is None


def batches(dataset: Path, **options: Any) -> Batches:
    train = Splits.open(dataset).train
    return Batches(train.x, train.y, Training(batch_size=64, **options))


def test_an_epoch_is_a_new_order_of_the_kept_samples(digits_dataset: Path) -> None:
    train = Splits.open(digits_dataset).train
    numbered = np.arange(len(train), dtype=np.float32).reshape(-1, 1, 1, 1)
    data = Batches(numbered, train.y, Training(batch_size=64, validation=0.2))
    held_out = {int(value) for x, _ in data.validation() for value in x.reshape(-1)}
    orders = [np.concatenate([x.reshape(-1) for x, _ in data.epoch(number)]) for number in (0, 0, 1)]
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()
    assert len(set(orders[0])) == data.steps * 64
    assert not held_out & set(orders[0])
    labels = np.concatenate([y.reshape(-1) for _, y in data.epoch(0)])
    assert (labels == train.y[orders[0].astype(int)]).all()


def test_the_validation_set_keeps_the_classes_in_proportion() -> None:
    labels = np.repeat(np.arange(3), [100, 50, 10])
    held_out = hold_out(labels, 0.2, seed=1)
    assert np.bincount(labels[held_out]).tolist() == [20, 10, 2]
    assert held_out.tolist() == hold_out(labels, 0.2, seed=1).tolist() != hold_out(labels, 0.2, seed=2).tolist()


def test_augmentation_shifts_and_mirrors_each_image_by_itself() -> None:
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4] = 1
    moved = augment(np.repeat(image, 500, axis=0), Augmentation(shift=2), np.random.default_rng(0))
    places = {tuple(np.argwhere(one[..., 0])[0]) for one in moved}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    ramp = np.tile(np.arange(4, dtype=np.float32), (200, 4, 1))[..., None]
    flipped = augment(ramp, Augmentation(flip=True), np.random.default_rng(0))
    kinds = {tuple(one[0, :, 0]) for one in flipped}
    assert kinds == {(0, 1, 2, 3), (3, 2, 1, 0)}


def test_the_learning_rate_warms_up_and_decays_over_the_steps_that_run() -> None:
    rate = make_optimizer(Training(learning_rate=0.1, warmup=0.1), 100)._learning_rate
    optimizer = make_optimizer(Training(learning_rate=0.1, warmup=0.1), 100)
    schedule = optimizer.get_config()["learning_rate"]
    assert rate is not None
    cosine = tf_keras().optimizers.schedules.deserialize(schedule)
    assert [float(cosine(step)) for step in (0, 5, 10, 55, 100)] == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-6)
    constant = make_optimizer(Training(learning_rate=0.1, warmup=0.0, schedule="constant"), 100)
    flat = tf_keras().optimizers.schedules.deserialize(constant.get_config()["learning_rate"])
    assert [float(flat(step)) for step in (0, 50, 99)] == pytest.approx([0.1] * 3)


def test_the_distilled_loss_is_hintons(step: Step) -> None:
    keras = tf_keras()
    teacher = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")])
    samples, labels = np.float32([[1, 2, 3], [0, 1, -1]]), np.int64([2, 0])
    student = np.float32([[0.5, 0.1, 0], [0.3, 0, 0.2]])

    def softmax(values: Any) -> Any:
        raised = np.exp(values - values.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    loss = objective(Criterion("classification", False), Distillation(weight=0.25, temperature=2.0), teacher)
    task = -np.log(softmax(student)[[0, 1], labels]).mean()
    soft_teacher, soft_student = softmax(samples / 2), softmax(student / 2)
    divergence = (soft_teacher * np.log(soft_teacher / soft_student)).sum(axis=1).mean()
    found = float(loss(tensorflow().constant(samples), labels, tensorflow().constant(student)))
    assert found == pytest.approx(0.75 * task + 0.25 * 4 * divergence, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "activation"), [("binary", "sigmoid"), ("binary", None), ("classification", "softmax")]
)
def test_the_loss_of_a_classifier_knows_probabilities_from_logits(task: Any, activation: str | None) -> None:
    keras = tf_keras()
    units = 1 if task == "binary" else 2
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(units, activation=activation)])
    criterion = criterion_of(model, task)
    assert criterion.probabilities is (activation is not None)
    logits = np.float32([[2.0], [-1.0]]) if units == 1 else np.float32([[0.0, 2.0], [0.0, -1.0]])
    activated = getattr(keras.activations, activation)(tensorflow().constant(logits)) if activation else logits
    labels = np.int64([1, 1])
    expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0))])
    assert float(criterion.loss(None, labels, tensorflow().constant(activated))) == pytest.approx(expected, rel=1e-5)
    assert float(criterion.right(labels, tensorflow().constant(activated))) == 1


@pytest.mark.parametrize("task", ["regression", "reconstruction"])
def test_models_that_give_values_are_trained_by_squared_error(task: Any) -> None:
    keras = tf_keras()
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(3)])
    criterion = criterion_of(model, task)
    samples, targets, outputs = (tensorflow().constant(np.full((2, 3), value, np.float32)) for value in (1, 2, 4))
    loss = float(criterion.loss(samples, targets, outputs))
    assert loss == (4.0 if task == "regression" else 9.0)
    assert not criterion.counts


def test_early_stopping_takes_the_best_epoch(step: Step, digits_dataset: Path, tmp_path: Path) -> None:
    """With a rate that ruins the model no later epoch is better than the first."""
    wild = Training(epochs=6, batch_size=64, learning_rate=3.0, early_stop=1, schedule="constant", warmup=0.0)
    made = take(step(""), digits_dataset, FinetuneOptions(), wild, tmp_path / "out")
    assert made.status == "ok", made.reason
    assert made.steps[0].measured["training"]["epochs"] < 6


def test_batch_norm_is_refreshed_by_forward_passes(step: Step, digits_dataset: Path) -> None:
    model = copy_model(load_model(step("")))
    weights = {layer.name: [value.copy() for value in layer.get_weights()] for layer in model.layers}
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for norm in norms:
        gamma, beta, mean, variance = norm.get_weights()
        norm.set_weights([gamma, beta, mean + 3, variance * 9])
    data = Splits.open(digits_dataset)

    def accuracy() -> float:
        outputs = model(data.test.x[:], training=False)
        return float(np.mean(np.argmax(outputs, axis=1) == data.test.y))

    ruined = accuracy()
    refresh_batch_norm(model, batches(digits_dataset))
    assert ruined < 0.5 < 0.9 < accuracy()
    kernel = model.get_layer("conv2d_2").get_weights()[0]
    assert (kernel == weights["conv2d_2"][0]).all()
    assert all(isinstance(norm.momentum, float) for norm in norms)


def test_the_refreshed_mean_is_the_mean_of_the_data(digits_dataset: Path) -> None:
    keras = tf_keras()
    noise, norm = keras.layers.Dropout(0.5), keras.layers.BatchNormalization()
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), noise, norm])
    data = batches(digits_dataset, validation=0.0)
    refresh_batch_norm(model, data)
    seen = np.concatenate(list(data.plain(4096)))
    assert float(norm.moving_mean[0]) == pytest.approx(seen.mean(), rel=1e-3)
    assert noise.rate == 0.5


def test_ranges_start_where_the_activations_are(step: Step, digits_dataset: Path) -> None:
    """TFMOT starts them at [-6, 6] and moves them by a thousandth a step."""
    model = load_model(step(""))
    wrapped, *_ = quantize(model, QatOptions())
    calibrate_ranges(wrapped, batches(digits_dataset))
    inner = tf_keras().Model(model.input, [layer.output for layer in model.layers if "re_lu" in layer.name])
    largest = [value.numpy().max() for value in inner(Splits.open(digits_dataset).train.x[:], training=False)]
    found = [
        float(variable.numpy())
        for variable in wrapped.variables
        if "re_lu" in variable.name and variable.name.endswith("_max:0")
    ]
    assert len(found) == len(largest) == 4
    assert all(0.6 < one / other < 1.4 for one, other in zip(found, largest, strict=True))


def test_qat_serves_what_it_trained(step: Step, digits_dataset: Path) -> None:
    """The fake-quantized graph in the SavedModel has at most 256 levels at its input."""
    loaded = tensorflow().saved_model.load(str(step("qat") / "saved_model"))
    outputs = next(iter(loaded.serve(Splits.open(digits_dataset).test.x[:64]).values())).numpy()
    assert outputs.sum(axis=1) == pytest.approx(1, abs=0.02)
