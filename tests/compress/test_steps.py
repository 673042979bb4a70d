"""What each train-aware step leaves in its artifact, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import KERAS_MODEL, MODEL
from litemill.compress.affine import depthwise_counterparts, with_counterparts
from litemill.compress.qat import quantize
from litemill.config.run import DataSpec, Limit, Training
from litemill.config.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions
from litemill.convert import convert_bundle
from litemill.data import Splits, prepare_data
from litemill.errors import StepFailed
from litemill.evidence import ClusterFindings, ModelManifest
from litemill.models import load_model, save_model
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.flatten import flatten
from tests.workshop import take

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


def artifact(model: Any, folder: Path) -> Path:
    save_model(model, ModelManifest(origin="made here", origin_sha256="0" * 64), folder)
    return folder


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


def with_layers(*middle: Any) -> Any:
    """A small classifier of the digits' shape with the given layers in it."""
    keras = tf_keras()
    first = keras.layers.Conv2D(8, 3, activation="relu", name="first")
    last = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, name="last")]
    return keras.Sequential([keras.layers.Input((8, 8, 1)), first, *middle, *last], name="made")


def test_an_unknown_layer_is_no_obstacle_to_pruning_and_named_by_qat(digits_dataset: Path, tmp_path: Path) -> None:
    layers = tf_keras().layers
    model = with_layers(
        layers.Rescaling(2.0, name="scaling"), layers.Conv2D(16, 3, name="middle"), layers.PReLU(name="bend")
    )
    source = artifact(model, tmp_path / "source")
    assert take(source, digits_dataset, PruneOptions(), BRIEF, tmp_path / "pruned").status == "ok"
    refused = take(source, digits_dataset, QatOptions(), BRIEF, tmp_path / "refused")
    assert refused.status == "failed"
    assert "cannot take layer scaling (Rescaling is not supported), bend (PReLU is not supported)" in refused.reason
    taken = take(source, digits_dataset, QatOptions(unsupported="float"), BRIEF, tmp_path / "taken")
    assert taken.status == "ok"
    assert set(taken.steps[0].measured["float_layers"]) == {"scaling", "bend"}
    assert len(taken.steps[0].warnings) == 2


def test_a_layer_to_exclude_from_qat_must_exist() -> None:
    with pytest.raises(StepFailed, match=r"no layer is named 'frist' or of that type; did you mean 'first'\?"):
        quantize(with_layers(), QatOptions(exclude=["frist"]))
    _, floats, _ = quantize(with_layers(), QatOptions(exclude=["Global*"]))
    assert list(floats.values()) == ["excluded"]


def test_a_batch_norm_after_an_activation_is_trained_as_the_convolution_it_equals(
    digits_dataset: Path, tmp_path: Path
) -> None:
    model = with_layers(tf_keras().layers.BatchNormalization(name="norm"), tf_keras().layers.Conv2D(8, 1, name="next"))
    rng = np.random.default_rng(0)
    model.get_layer("norm").set_weights([rng.random(8) + 0.5 for _ in range(4)])
    counterpart = with_counterparts(model, depthwise_counterparts(model, ["norm", "next"]))
    x = np.asarray(Splits.open(digits_dataset).test.x[:32])
    assert type(counterpart.get_layer("norm")).__name__ == "DepthwiseConv2D"
    assert np.allclose(counterpart.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)

    made = take(artifact(model, tmp_path / "source"), digits_dataset, QatOptions(), BRIEF, tmp_path / "qat")
    recipes = {"qat": [{"name": "qat"}, {"name": "int8"}]}
    (variant,) = convert_bundle(tmp_path / "qat", recipes, tmp_path / "out", dataset=digits_dataset)

    assert made.status == "ok", made.reason
    assert made.steps[0].measured["float_layers"] == {}
    assert list(made.steps[0].measured["rewritten"]) == ["norm"]
    assert variant.status == "ok", variant.reason
    assert variant.graph is not None and variant.graph.ops["DEPTHWISE_CONV_2D"] == 1
    assert variant.graph.float_ops == {}


def test_preprocessing_in_front_stays_float_in_training_and_becomes_int8_in_the_file(
    digits_dataset: Path, tmp_path: Path
) -> None:
    keras = tf_keras()
    image = keras.layers.Input((8, 8, 1))
    scaled = keras.layers.Rescaling(2.0, offset=-1.0, name="scaling")(image)
    model = keras.Model(image, keras.models.Sequential(with_layers().layers)(scaled))
    flat, _ = flatten(model)

    made = take(artifact(flat, tmp_path / "source"), digits_dataset, QatOptions(), BRIEF, tmp_path / "qat")
    recipes = {"qat": [{"name": "qat"}, {"name": "int8"}]}
    (variant,) = convert_bundle(tmp_path / "qat", recipes, tmp_path / "out", dataset=digits_dataset)

    assert made.status == "ok", made.reason
    assert made.steps[0].measured["float_layers"] == {
        "scaling": "preprocesses the input in front of the quantized layers"
    }
    assert variant.status == "ok", variant.reason
    assert variant.graph is not None and variant.graph.float_ops == {}


def test_nested_models_are_pruned_and_refused_by_qat(digits_dataset: Path, tmp_path: Path) -> None:
    keras = tf_keras()
    inner = keras.Sequential([keras.layers.Input((6, 6, 8)), keras.layers.Conv2D(16, 3, name="deep")], name="inner")
    source = artifact(with_layers(inner), tmp_path / "source")
    pruned = take(source, digits_dataset, PruneOptions(), BRIEF, tmp_path / "pruned")
    assert pruned.steps[0].measured["layers"]["deep"]["sparsity"] == pytest.approx(0.5, abs=0.01)
    refused = take(source, digits_dataset, QatOptions(), BRIEF, tmp_path / "refused")
    assert "cannot take a nested model: inner" in refused.reason


def test_a_layer_without_zeros_does_not_switch_pcqat_off_for_the_others() -> None:
    """TFMOT's registry shares one quantizer: a clustered layer without zeros turned PCQAT into CQAT for the rest."""
    model = with_layers(
        *(tf_keras().layers.Conv2D(8, 1, use_bias=False, name=name) for name in ("both", "clusters", "zeros", "plain"))
    )
    values = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8) + 1
    shared = values % 3 + 1
    kept = {"both": shared * (values > 32), "clusters": shared, "zeros": values * (values > 32), "plain": values}
    for name, kernel in kept.items():
        model.get_layer(name).set_weights([kernel])
    wrapped, *_ = quantize(model, QatOptions(), ClusterFindings(layers={}, clusters=4))
    quantizers = {name: wrapped.get_layer(f"quant_{name}").quantize_config.weight_quantizer for name in kept}
    assert {name: type(quantizer).__name__ for name, quantizer in quantizers.items()} == {
        "both": "ClusterPreserveDefault8BitConvWeightsQuantizer",
        "clusters": "ClusterPreserveDefault8BitConvWeightsQuantizer",
        "zeros": "PrunePreserveDefault8BitConvWeightsQuantizer",
        "plain": "Default8BitConvWeightsQuantizer",
    }
    assert (quantizers["both"].preserve_sparsity, quantizers["clusters"].preserve_sparsity) == (True, False)


def test_block_sparsity_of_a_dense_layer(digits_dataset: Path, tmp_path: Path) -> None:
    keras = tf_keras()
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(32, name="first")]
    model = keras.Sequential([*layers, keras.layers.Dense(32, name="wide"), keras.layers.Dense(10)])
    options = PruneOptions(block=(1, 4), sparsity=0.75, schedule="constant")
    all_of_it = TRAINING.model_copy(update={"validation": 0.0})
    made = take(artifact(model, tmp_path / "source"), digits_dataset, options, all_of_it, tmp_path / "out")
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
    made = take(artifact(model, tmp_path / "source"), digits_dataset, FinetuneOptions(), TRAINING, tmp_path / "out")
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
    source = artifact(keras.Sequential([*layers, keras.layers.Dense(1)]), tmp_path / "source")
    wanted = Training(epochs=4, batch_size=32, learning_rate=0.01)
    made = take(source, tmp_path / "dataset", PruneOptions(), wanted, tmp_path / "out")
    assert made.status == "ok", made.reason
    answer = made.steps[0].measured["training"]
    assert set(answer) == {"epochs", "steps", "loss", "val_loss"}
    assert answer["val_loss"] < 0.5 * targets.var()


def test_the_layers_that_a_separable_convolution_is_split_into_do_not_take_names_that_are_there() -> None:
    """A model from a file has default names, and Keras counts from zero again: TFMOT's own layers collided."""
    keras = tf_keras()
    layers = keras.layers
    names = ["conv2d", "depthwise_conv2d", "conv2d_1"]
    middle = [layers.DepthwiseConv2D(1, name=names[1]), layers.SeparableConv2D(8, 3, use_bias=False, name="sep")]
    model = with_layers(layers.Conv2D(8, 1, name=names[0]), *middle, layers.Conv2D(8, 1, name=names[2]))
    keras.backend.reset_uids()
    wrapped, floats, _ = quantize(model, QatOptions())
    assert floats == {}
    split = [layer.name.removeprefix("quant_") for layer in wrapped.layers]
    assert len(set(split)) == len(split) and set(names) < set(split) and "sep" not in split
    assert np.isfinite(wrapped(np.ones((2, 8, 8, 1), np.float32)).numpy()).all()


def test_token_ids_are_not_rounded_by_qat_and_arithmetic_between_layers_is_refused_by_name() -> None:
    keras = tf_keras()
    layers = keras.layers
    for dtype in ("int32", "float32"):
        ids = keras.Input((6,), dtype=dtype)
        mean = layers.GlobalAveragePooling1D()(layers.Embedding(2000, 4, name="words")(ids))
        model = keras.Model(ids, layers.Dense(3)(mean))
        with pytest.raises(StepFailed, match=r"words \(Embedding is not supported\).*unsupported: float"):
            quantize(model, QatOptions())
        wrapped, floats, _ = quantize(model, QatOptions(unsupported="float"))
        assert set(floats) == {"words"}
        assert "quantize_layer" not in " ".join(layer.name for layer in wrapped.layers)
    image = keras.Input((8, 8, 1))
    scaled = layers.Conv2D(4, 3)(image * 2.0 - 1.0)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(scaled)))
    for unsupported in ("fail", "float"):
        with pytest.raises(StepFailed, match=r"arithmetic between layers: tf\.math\.multiply.*Write it with layers"):
            quantize(model, QatOptions(unsupported=unsupported))
