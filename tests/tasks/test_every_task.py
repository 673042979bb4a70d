"""Each task from the data to the verdict: prepared, imported, fine-tuned, converted, judged against the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.compress.train import train
from litemill.config.run import DataSpec, ModelSpec, RunSpec, Training
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.doctor.diagnose import diagnose
from litemill.evaluate import evaluate_bundle
from litemill.models.store import load_model
from litemill.stages.import_model import import_model
from litemill.tasks import metric_of, task_of
from tests.tasks.made_tasks import MADE, make

WORTH = {"segmentation": 0.95, "multilabel": 0.95, "sequence": 0.95, "regression": 0.15, "detection": 0.8}
"""What the model is worth by the task's own metric, or more; of a regression, whose metric is an error, or less."""
TASKS = [pytest.param(task, marks=[] if task == "segmentation" else pytest.mark.e2e) for task in WORTH]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_from_its_data_to_the_verdict(task: str, tmp_path: Path) -> None:
    model, arrays = make(task, tmp_path)
    spec = DataSpec.model_validate({"kind": "npz", "uri": str(arrays), "task": task, **MADE[task].section})
    data = prepare_data(spec, 0, tmp_path / "data")
    manifest = import_model(model, tmp_path / "data", out=tmp_path / "model", baseline=tmp_path / "baseline")
    assert manifest.output_is == {"segmentation": "logits", "regression": "", "detection": ""}.get(
        task, "probabilities"
    )

    training = Training(epochs=1, batch_size=32, learning_rate=1e-3)
    tuned = train(
        tmp_path / "model", tmp_path / "data", Step(name="finetune"), training=training, out=tmp_path / "tuned"
    )
    assert tuned.status == "ok", tuned.reason
    measured = tuned.steps[-1].measured["training"]
    counted = task not in ("regression", "detection")
    assert measured.get("val_accuracy", 1.0) > 0.9 and ("val_accuracy" in measured) == counted

    convert_bundle(tmp_path / "tuned", {"int8": [{"name": "int8"}]}, tmp_path / "variants", dataset=tmp_path / "data")
    found = {}
    for name, reference in (("baseline", None), ("variants", tmp_path / "judged-baseline")):
        found |= evaluate_bundle(tmp_path / name, tmp_path / "data", tmp_path / f"judged-{name}", reference)
    baseline, int8 = found["baseline"], found["int8"]
    assert (int8.status, int8.metric) == ("ok", data.metric), int8.reason
    assert baseline.value > WORTH[task] if int8.higher_is_better else baseline.value < WORTH[task]
    assert int8.drop is not None and int8.drop.ci[0] <= int8.drop.value <= int8.drop.ci[1]
    assert abs(int8.drop.value) < 0.05
    if task == "regression":
        assert int8.agreement is None and int8.per_class == []
    else:
        assert int8.agreement is not None and int8.agreement > (0.75 if task == "detection" else 0.95)
        assert all(value is not None and value > (0.75 if task == "detection" else 0.8) for value in int8.per_class)
    assert keras_says(tmp_path / "model", tmp_path / "data", task) == pytest.approx(baseline.value, abs=0.02)


def keras_says(model: Path, dataset: Path, task: str) -> float:
    """The task's metric of the Keras model, computed in the plainest way."""
    x, y = (np.load(dataset / "test" / f"{name}.npy") for name in "xy")
    outputs = load_model(model).predict(x, verbose=0)
    if task == "detection":  # against COCO's own program: tests/tasks/test_detection.py
        found = task_of(task).outcomes(outputs, x, y, Splits.open(dataset).manifest.reading())
        return metric_of("map50").function()(found.outcome, found.target)
    if task == "regression":
        return float(np.abs(outputs - y).mean())
    if task == "segmentation":
        found = outputs[..., 0] > 0
        return float(np.mean([(found == c)[y == c].sum() / ((found == c) | (y == c)).sum() for c in (0, 1)]))
    if task == "sequence":
        return float(np.mean(outputs.argmax(-1)[y >= 0] == y[y >= 0]))
    from sklearn.metrics import average_precision_score

    return float(np.mean([average_precision_score(y[:, label], outputs[:, label]) for label in range(y.shape[1])]))


def moved_classes(y: np.ndarray) -> np.ndarray:
    """Boxes of classes that the detector does not have."""
    return np.where(y[..., 4:] < 0, y, y + 2 * np.eye(5)[4])


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("task", "change", "finding"),
    [
        ("segmentation", {"y": lambda y: y[:, ::2, ::2]}, "outputs of shape [8, 8, 1] for targets of shape [4, 4]"),
        ("multilabel", {"y": lambda y: np.repeat(y, 2, axis=1)}, "gives outputs of shape [3] for data with 6 labels"),
        ("segmentation", {}, "no usual preprocessing does better"),
        ("detection", {}, "the model has a mean average precision (at .5) of"),
        ("detection", {"y": moved_classes}, "gives 2 scores for each box, the data has 4 classes"),
    ],
)
def test_the_doctor_holds_outputs_against_targets(task: str, change: Any, finding: str, tmp_path: Path) -> None:
    model, arrays = make(task, tmp_path)
    with np.load(arrays) as stored:
        changed = {key: change["y"](value) if change and key[0] == "y" else value for key, value in stored.items()}
    np.savez(arrays, **changed)
    data = {"kind": "npz", "uri": str(arrays), "task": task, **MADE[task].section}
    spec = RunSpec(name="r", model=ModelSpec(uri=str(model)), data=data, recipes={"int8": ["int8"]})  # type: ignore[arg-type]
    levels = [(one.level, one.what) for one in diagnose(spec).findings]
    assert any(finding in what and (level == "error") == bool(change) for level, what in levels), levels
