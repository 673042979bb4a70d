"""Layers that a train-aware step treats in a way of its own, or names as ones it cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.compress.affine import depthwise_counterparts, with_counterparts
from litemill.compress.qat import quantize
from litemill.config.run import Training
from litemill.config.steps import PruneOptions, QatOptions
from litemill.convert.bundle import convert_bundle
from litemill.data.splits import Splits
from litemill.errors import StepFailed
from litemill.evidence.training import ClusterFindings
from litemill.models.backend import tf_keras
from litemill.models.flatten import flatten
from tests.workshop import saved, take

BRIEF = Training(epochs=1, batch_size=64, learning_rate=2e-3)


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
    source = saved(model, tmp_path / "source")
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

    made = take(saved(model, tmp_path / "source"), digits_dataset, QatOptions(), BRIEF, tmp_path / "qat")
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

    made = take(saved(flat, tmp_path / "source"), digits_dataset, QatOptions(), BRIEF, tmp_path / "qat")
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
    source = saved(with_layers(inner), tmp_path / "source")
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
