"""The shape of outputs, worked out without TensorFlow, is that of the built model; unknown layers are unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.config.run import RunSpec
from litemill.doctor.preflight import preflight
from litemill.errors import InputError
from litemill.models.backend import tf_keras
from litemill.models.output_shape import output_shapes
from litemill.models.peek import peek
from tests.tasks.made_tasks import MADE
from tests.zoo import dense, ds_cnn, mobilenet, resnet


def functional(k: Any) -> dict[str, Any]:
    """Models that have the usual layers between them."""
    layers = k.layers
    image, steps, tokens = k.Input((17, 16, 3)), k.Input((20, 4)), k.Input((9,))
    down = layers.Conv2D(8, 3, strides=2, padding="valid", dilation_rate=1)(
        layers.ZeroPadding2D(((1, 2), (0, 3)))(image)
    )
    up = layers.Cropping2D(((1, 0), (2, 1)))(layers.UpSampling2D(2)(layers.Conv2DTranspose(5, 3, strides=2)(down)))
    joined = layers.Concatenate()(
        [layers.SeparableConv2D(6, 3)(image), layers.DepthwiseConv2D(3, depth_multiplier=2)(image)]
    )
    atrous = layers.Conv1D(7, 3, dilation_rate=2)(layers.Cropping1D(1)(layers.ZeroPadding1D(2)(steps)))
    inner = k.Sequential([k.Input((17, 16, 3)), layers.MaxPooling2D(3, strides=2), layers.Conv2D(4, 1)])
    both = layers.Bidirectional(layers.GRU(6, return_sequences=True))(layers.Embedding(50, 8)(tokens))
    return {
        "up": k.Model(image, up),
        "joined": k.Model(image, layers.Permute((3, 1, 2))(joined)),
        "atrous": k.Model(steps, layers.AveragePooling1D(2)(atrous)),
        "nested": k.Model(image, layers.Reshape((-1, 4))(inner(image))),
        "words": k.Model(tokens, layers.TimeDistributed(layers.Dense(3))(both)),
        "last": k.Model(steps, layers.RepeatVector(2)(layers.LSTM(5)(steps))),
        "pooled": k.Model(image, layers.Flatten()(layers.GlobalMaxPooling2D(keepdims=True)(image))),
        "two": k.Model(
            image, {"a": layers.Dense(2, name="a")(image), "b": layers.GlobalAveragePooling2D(name="b")(image)}
        ),
    }


def test_shapes_are_those_of_the_built_models(tmp_path: Path) -> None:
    k = tf_keras()
    made = {make.__name__: make(k) for make in (ds_cnn, mobilenet, resnet, dense)} | functional(k)
    made |= {task: one.model(k) for task, one in MADE.items()}
    for name, model in made.items():
        for ending in ("h5", "keras"):
            model.save(tmp_path / f"{name}.{ending}")
            found = output_shapes(peek(tmp_path / f"{name}.{ending}"))
            shape = model.output_shape
            expected = (
                {key: tuple(one[1:]) for key, one in shape.items()} if isinstance(shape, dict) else tuple(shape[1:])
            )
            assert (found if isinstance(shape, dict) else next(iter(found.values()))) == expected, (name, ending)


def test_an_unknown_layer_keras_3_and_files_that_are_graphs(tmp_path: Path) -> None:
    import keras

    k = tf_keras()
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    keras.Model(inputs, keras.layers.Concatenate()([x * 2.0, inputs])).save(tmp_path / "three.keras")
    assert set(output_shapes(peek(tmp_path / "three.keras")).values()) <= {None, (8, 8, 5)}
    keras.Model(inputs, keras.layers.Add()([x, x])).save(tmp_path / "plain.keras")
    assert list(output_shapes(peek(tmp_path / "plain.keras")).values()) == [(8, 8, 4)]
    inputs = k.Input((6, 4))
    k.Model(inputs, k.layers.MultiHeadAttention(2, 3)(inputs, inputs)).save(tmp_path / "attention.h5")
    assert list(output_shapes(peek(tmp_path / "attention.h5")).values()) == [None]
    k.Sequential([inputs, k.layers.Dense(3)]).export(str(tmp_path / "graph"))
    assert list(output_shapes(peek(tmp_path / "graph")).values()) == [(6, 3)]


@pytest.mark.parametrize(
    ("task", "y", "message"),
    [
        ("segmentation", np.indices((4, 4)).sum(0) % 2, r"outputs of shape \[8, 8, 1\] for targets of shape \[4, 4\]"),
        ("segmentation", np.indices((8, 8)).sum(0) % 3, "gives 1 score for each position, the data has 3 classes"),
        ("classification", 1, r"gives outputs of shape \[8, 8, 1\] for data with 2 classes"),
        ("multilabel", np.array([0, 1]), r"gives outputs of shape \[8, 8, 1\] for data with 2 labels"),
        ("regression", np.linspace(0, 1, 63), r"gives outputs of shape \[8, 8, 1\] for targets of shape \[63\]"),
    ],
)
def test_targets_that_the_outputs_do_not_fit_are_refused_before_any_compute(
    task: str, y: Any, message: str, tmp_path: Path
) -> None:
    MADE["segmentation"].model(tf_keras()).save(tmp_path / "model.h5")
    x, stacked = np.random.default_rng(0).random((40, 8, 8, 1), np.float32), np.stack([y * 0, y] * 20)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=stacked, x_test=x, y_test=stacked)
    data = {"kind": "npz", "uri": str(tmp_path / "d.npz"), "task": task}
    spec = {"name": "r", "model": {"uri": str(tmp_path / "model.h5")}, "data": data, "recipes": {"int8": ["int8"]}}
    with pytest.raises(InputError, match=message) as raised:
        preflight(RunSpec.model_validate(spec))
    assert f"Task {task} takes as targets" in str(raised.value)
