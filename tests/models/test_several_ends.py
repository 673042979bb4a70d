"""Models with several inputs and outputs, in each format: the judged output is the source's own, fed by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.inputs import joined, named
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.keras3 import keras3
from litemill.models.peek import peek
from litemill.models.source import load_source, outputs_of_keras

RNG = np.random.default_rng(2)
X = joined({"left": RNG.normal(size=(6, 4, 4, 1)).astype("f4"), "context": RNG.normal(size=(6, 3)).astype("f4")})


def build(keras: Any) -> Any:
    """Inputs of two ranks, the second of them first; outputs `place` and `scores`."""
    layers = keras.layers
    context, left = layers.Input((3,), name="context"), layers.Input((4, 4, 1), name="left")
    seen = layers.Flatten()(layers.Conv2D(2, 3, activation="relu")(left))
    both = layers.Concatenate()([context, seen])
    outputs = [layers.Dense(2, name="place")(both), layers.Dense(4, activation="softmax", name="scores")(both)]
    return keras.Model([context, left], outputs)


def as_graph(root: Path) -> tuple[Path, Any]:
    model = build(tf_keras())
    tf = tensorflow()
    module = tf.Module()
    module.model = model

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *shape], name=name) for name, shape in (("left", [4, 4, 1]), ("context", [3]))
        ]
    )
    def serve(left: Any, context: Any) -> dict[str, Any]:
        place, scores = model([context, left])
        return {"scores": scores, "place": place}

    tf.saved_model.save(module, str(root / "graph"), signatures=serve)
    return root / "graph", model


def saved(keras: Callable[[], Any], name: str) -> Callable[[Path], tuple[Path, Any]]:
    def write(root: Path) -> tuple[Path, Any]:
        model = build(keras())
        model.save(root / name)
        return root / name, model

    return write


SOURCES = {
    "keras2": saved(tf_keras, "m.keras"),
    "h5": saved(tf_keras, "m.h5"),
    "saved_model": saved(tf_keras, "folder"),
    "keras3": saved(keras3, "m.keras"),
    "graph": as_graph,
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_format_is_fed_by_name_and_gives_the_judged_output(name: str, tmp_path: Path) -> None:
    path, model = SOURCES[name](tmp_path)
    facts = peek(path)
    assert dict(zip(facts.input_names, facts.inputs, strict=True)) == {"left": (4, 4, 1), "context": (3,)}
    if name not in ("saved_model", "graph"):
        assert facts.output_names == ("place", "scores")
    parts = named(X)
    expected = dict(zip(("place", "scores"), model.predict([parts["context"], parts["left"]], verbose=0), strict=True))
    for output, values in expected.items():
        source = load_source(path, output=output)
        np.testing.assert_allclose(source.predict(X), values, atol=1e-5)
        if source.keras is not None:
            np.testing.assert_allclose(outputs_of_keras(source.keras, X, source.judged), values, atol=1e-5)
    assert (source.keras is None) == (name == "graph")
