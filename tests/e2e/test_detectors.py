"""Whole runs of detectors as people have them: boxes and scores as two outputs, or a file that suppresses itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import litemill as lm
from litemill.models.backend import tensorflow, tf_keras
from tests.tasks.made_tasks import GRID, make

pytestmark = pytest.mark.e2e

FOUND = 10
POST_PROCESS = f"""
name: "TFLite_Detection_PostProcess"
attr {{ key: "max_detections" value {{ i: {FOUND} }} }}
attr {{ key: "max_classes_per_detection" value {{ i: 1 }} }}
attr {{ key: "detections_per_class" value {{ i: {FOUND} }} }}
attr {{ key: "use_regular_nms" value {{ b: true }} }}
attr {{ key: "nms_score_threshold" value {{ f: 0.01 }} }}
attr {{ key: "nms_iou_threshold" value {{ f: 0.5 }} }}
attr {{ key: "y_scale" value {{ f: 1.0 }} }}
attr {{ key: "x_scale" value {{ f: 1.0 }} }}
attr {{ key: "h_scale" value {{ f: 1.0 }} }}
attr {{ key: "w_scale" value {{ f: 1.0 }} }}
attr {{ key: "num_classes" value {{ i: 2 }} }}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A trained detector with the outputs `boxes` and `scores`, and the folder of its data."""
    folder = tmp_path_factory.mktemp("detector")
    model, _ = make("detection", folder)
    keras = tf_keras()
    one, layers = keras.models.load_model(model, compile=False), keras.layers
    columns = layers.Permute((2, 1))(one.output)
    parts = {"boxes": (0, 2), "scores": (4, 0)}
    outputs = [layers.Permute((2, 1), name=name)(layers.Cropping1D(cut)(columns)) for name, cut in parts.items()]
    return keras.Model(one.input, outputs), folder


def run(folder: Path, source: Path, detection: dict[str, Any], recipes: dict[str, Any]) -> dict[str, Any]:
    """The rows of a run's results by recipe."""
    config = {
        "name": "detector",
        "model": {"uri": str(source)},
        "data": {
            "kind": "npz",
            "uri": str(folder / "data.npz"),
            "task": "detection",
            "metric": "map50",
            "detection": {"scale": 16, **detection},
        },
        "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3},
        "recipes": recipes,
        "targets": ["host"],
        "budget": {"max_accuracy_drop": 0.1},
    }
    results = lm.run(config, out=source.parent / "out", work=source.parent / "work")
    return {row.recipe: row for row in results.variants}


def test_two_outputs_go_through_every_kind_of_step(
    made: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, folder = made
    model.save(tmp_path / "two.keras")
    detection = {"boxes": "boxes", "scores": "scores", "format": "cxcywh"}
    recipes = {
        "float16": ["float16"],
        "mixed": ["mixed-int8"],
        "int8": ["int8"],
        "qat": [{"qat": {"unsupported": "float"}}, "int8"],
        "pruned": ["prune", "int8"],
    }
    rows = run(folder, tmp_path / "two.keras", detection, recipes)
    assert {row.status for row in rows.values()} == {"ok"}
    assert rows["float16"].accuracy > 0.8
    assert all(row.accuracy > 0.4 for row in rows.values())
    assert rows["mixed"].accuracy > rows["int8"].accuracy - 0.02


def test_a_file_that_suppresses_by_itself_is_judged_by_its_four_outputs(
    made: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (model, folder), tf = made, tensorflow()
    anchors = np.tile(np.float32([0, 0, 1, 1]), (GRID * GRID, 1))

    class Detector(tf.Module):  # type: ignore[misc, name-defined]
        """Boxes as SSD's post-processing takes them, and its custom op."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 1), tf.float32)])
        def serve(self, image: Any) -> Any:
            boxes, scores = self.model(image)
            x, y, width, height = tf.split(boxes, 4, axis=-1)
            sizes = [tf.math.log(tf.maximum(size, 1e-3)) for size in (height, width)]
            with_background = tf.concat([tf.zeros_like(scores[..., :1]), scores], -1)
            return self.suppress(tf.concat([y, x, *sizes], -1), with_background, tf.constant(anchors))

        @tf.function(experimental_implements=POST_PROCESS)
        def suppress(self, boxes: Any, scores: Any, anchors: Any) -> Any:
            shapes = {"a_boxes": (1, FOUND, 4), "b_classes": (1, FOUND), "c_scores": (1, FOUND), "d_count": (1,)}
            return {name: tf.zeros(shape) for name, shape in shapes.items()}

    detector = Detector()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([detector.serve.get_concrete_function()], detector)
    converter.allow_custom_ops = True
    (tmp_path / "ssd.tflite").write_bytes(converter.convert())

    detection = {"boxes": "a_boxes", "classes": "b_classes", "scores": "c_scores", "format": "yxyx", "nms": "graph"}
    recipes = {"float32": ["float32"], "dynamic": ["dynamic"], "int8": ["int8"]}
    rows = run(folder, tmp_path / "ssd.tflite", detection, recipes)
    assert rows["float32"].accuracy > 0.8
    assert rows["dynamic"].accuracy > 0.75
    assert rows["int8"].status == "failed"
    assert "float tensors left in a model that was to be integer only" in rows["int8"].reason
    with pytest.raises(lm.InputError, match="are not rows of the same boxes"):
        lm.run(
            {
                "name": "wrong",
                "model": {"uri": str(tmp_path / "ssd.tflite")},
                "data": {
                    "kind": "npz",
                    "uri": str(folder / "data.npz"),
                    "task": "detection",
                    "detection": {**detection, "scores": "d_count"},
                },
                "recipes": recipes,
            }
        )
