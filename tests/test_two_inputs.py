"""A model with two inputs and two outputs, from its file to judged and measured variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest
from litemill.artifacts.inputs import named
from litemill.artifacts.layout import MODEL, SAVED_MODEL, TFLITE, VARIANT
from litemill.benchmark import benchmark_bundle
from litemill.benchmark.files import benchmark_files
from litemill.benchmark.python_runner import RunnerOptions, lay_out, read_outputs, run_local
from litemill.benchmark.session import Subject
from litemill.config.deploy import Deploy
from litemill.config.run import BASELINE, DataSpec, RunSpec, Training
from litemill.config.steps import FinetuneOptions, PruneOptions, QatOptions, Step
from litemill.config.targets import parse_target
from litemill.convert.bundle import convert_bundle
from litemill.convert.parity import keras_outputs
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.doctor.diagnose import diagnose
from litemill.doctor.preflight import preflight
from litemill.errors import InputError
from litemill.evaluate import evaluate_bundle
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.models.backend import tf_keras
from litemill.models.source import load_source
from litemill.runtime import Runner
from litemill.stages.import_model import import_model
from tests.workshop import take

INPUTS = {"picture": {"scale": 1 / 255}, "context": {"mean": [3.0]}}


@dataclass
class Run:
    """What the steps left."""

    keras: Any
    source: Path
    data: Path
    model: Path
    baseline: Path
    variants: Path

    def expected(self, output: int, x: Any) -> np.ndarray:
        """What the Keras model computes."""
        parts = named(x)
        found: np.ndarray = self.keras.predict([parts["context"], parts["picture"]], verbose=0)[output]
        return found


def build() -> Any:
    """Inputs in another order than in the data, outputs of different sizes, the judged one last."""
    layers = tf_keras().layers
    tf_keras().utils.set_random_seed(5)
    context, picture = layers.Input((3,), name="context"), layers.Input((8, 8, 1), name="picture")
    seen = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(picture))
    both = layers.Dense(16, activation="relu")(
        layers.Concatenate()([seen, layers.Dense(8, activation="relu")(context)])
    )
    outputs = [layers.Dense(2, name="place")(both), layers.Dense(4, activation="softmax", name="scores")(both)]
    return tf_keras().Model([context, picture], outputs)


def save_data(path: Path) -> None:
    """The class is told by both inputs together: neither knows it alone."""
    rng = np.random.default_rng(1)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 512), ("test", 200)):
        bright, high = rng.integers(0, 2, (2, count))
        arrays[f"x_{split}_picture"] = (
            rng.integers(0, 100, (count, 8, 8, 1)) + 150 * bright[:, None, None, None]
        ).astype(np.uint8)
        arrays[f"x_{split}_context"] = rng.normal(3 + 2 * (2 * high[:, None] - 1), 0.5, (count, 3))
        arrays[f"y_{split}"] = 2 * bright + high
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Data, a trained model, its import and three variants."""
    root = tmp_path_factory.mktemp("several")
    save_data(root / "d.npz")
    spec = DataSpec(kind="npz", uri=str(root / "d.npz"), inputs=INPUTS, output="scores")
    prepare_data(spec, 0, root / "data")
    train, model = Splits.open(root / "data").train, build()
    model.compile("adam", {"scores": "sparse_categorical_crossentropy", "place": "mse"})
    model.optimizer.learning_rate = 0.01
    place = np.stack([train.y, -train.y], axis=1).astype(np.float32)
    model.fit(named(train.x), {"scores": train.y, "place": place}, epochs=8, verbose=0)
    model.save(root / "m.keras")
    import_model(str(root / "m.keras"), root / "data", out=root / "model", baseline=root / "baseline")
    recipes = {name: [Step(name=name)] for name in ("int8", "mixed-int8")}
    convert_bundle(root / "model", recipes, root / "variants", dataset=root / "data", deploy=Deploy(keep=[]))
    return Run(model, root / "m.keras", root / "data", root / "model", root / "baseline", root / "variants")


def test_the_import_knows_its_inputs_and_the_judged_output(run: Run) -> None:
    manifest = read_manifest(run.model / MODEL, ModelManifest)
    assert [info.name for info in manifest.inputs] == ["context", "picture"]
    assert manifest.judged == "scores"
    assert read_manifest(run.baseline / BASELINE / VARIANT, VariantManifest).output == "scores"


@pytest.mark.parametrize(("output", "position"), [("place", 0), ("scores", 1)])
def test_a_variant_answers_by_the_names_of_its_signature(run: Run, output: str, position: int) -> None:
    x = Splits.open(run.data).test.x
    expected = run.expected(position, x)
    for folder, tolerance in ((run.baseline / BASELINE, 1e-4), (run.variants / "int8", 0.15)):
        runner = Runner(folder / TFLITE, output=output)
        assert runner.batch > 1
        np.testing.assert_allclose(runner.run(x), expected, atol=tolerance * np.ptp(expected))


def test_variants_are_judged_by_the_named_output(run: Run, tmp_path: Path) -> None:
    test = Splits.open(run.data).test
    right = float(np.mean(run.expected(1, test.x).argmax(1) == test.y))
    assert right > 0.95
    baseline = evaluate_bundle(run.baseline, run.data, tmp_path / "baseline")[BASELINE]
    assert baseline.value == pytest.approx(right)
    found = evaluate_bundle(run.variants, run.data, tmp_path / "found", tmp_path / "baseline")
    assert found["int8"].status == "ok" and found["int8"].agreement is not None and found["int8"].agreement > 0.95
    assert found["mixed-int8"].status == "failed" and "models with one input" in found["mixed-int8"].reason


def test_calibration_sees_each_inputs_own_range(run: Run) -> None:
    """Each input has its own scale; signatures stay without being asked for, as nothing else tells inputs apart."""
    graph = read_manifest(run.variants / "int8" / VARIANT, VariantManifest).graph
    assert graph is not None
    reach = {info.name: info.scale * 255 for info in graph.inputs}
    x = Splits.open(run.data).calibration.x
    for name, part in named(x).items():
        (found,) = [span for tensor, span in reach.items() if name in tensor]
        assert found == pytest.approx(float(max(part.max(), 0) - min(part.min(), 0)), rel=0.05)


def test_what_does_not_fit_is_told(run: Run, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"has 2 outputs: place, scores\. Say which is judged, e\.g\. data\.output: place"
    ):
        load_source(run.source)
    with pytest.raises(InputError, match=r"has no output 'score'; did you mean 'scores'"):
        load_source(run.source, output="score")
    with pytest.raises(InputError, match=r"has no output 'score'; it has place, scores"):
        Runner(run.baseline / BASELINE / TFLITE, output="score")
    with pytest.raises(InputError, match=r"a sample has shape \[3\], it takes context \[3\], picture \[8, 8, 1\]"):
        Runner(run.baseline / BASELINE / TFLITE).run(np.zeros((2, 3), np.float32))
    np.savez(
        tmp_path / "d.npz",
        **{
            f"{key}_{split}": np.zeros((40, 3)) if key == "x" else np.arange(40) % 4
            for key in "xy"
            for split in ("train", "test")
        },
    )
    prepare_data(DataSpec(kind="npz", uri=str(tmp_path / "d.npz"), output="scores"), 0, tmp_path / "data")
    with pytest.raises(
        InputError,
        match=r"has 2 inputs \(context, picture\), the data one\. Name each input of the model in data\.inputs",
    ):
        import_model(str(run.source), tmp_path / "data", out=tmp_path / "model", baseline=tmp_path / "baseline")


@pytest.mark.e2e
@pytest.mark.parametrize("target", ["host", "tflm"])
def test_targets_compare_the_judged_output(run: Run, target: str, tmp_path: Path) -> None:
    spec = parse_target({"name": target, "device": target, **({"seconds": 0.05} if target == "host" else {})})
    found = benchmark_bundle(spec, run.variants, run.baseline, run.data, tmp_path / "out")["int8"]
    assert found.status == "ok", found.reason
    assert found.parity is not None and found.parity.samples == 8 and found.parity.ok
    assert benchmark_files(spec, [run.variants / "int8" / TFLITE])[0].parity is not None


@pytest.mark.e2e
def test_the_runner_on_a_device_is_fed_as_the_evaluation_is(run: Run, tmp_path: Path) -> None:
    """By position in the file there, by name here: the same numbers come out."""
    file, x = run.variants / "int8" / TFLITE, Splits.open(run.data).test.x[:8]
    subject = Subject.of(read_manifest(file.with_name(VARIANT), VariantManifest), file)
    run_local(
        "probe", [lay_out(subject, x, tmp_path)], RunnerOptions(accelerator="cpu-reference"), tmp_path / "out", 60
    )
    answered = subject.real(read_outputs(tmp_path / "out", subject.sha256))
    np.testing.assert_array_equal(answered, Runner(file, output="scores", kernels="reference").run(x))


@pytest.mark.parametrize(
    ("step", "options"),
    [
        ("qat", QatOptions()),
        pytest.param("prune", PruneOptions(sparsity=0.4, min_weights=0), marks=pytest.mark.e2e),
        pytest.param("finetune", FinetuneOptions(), marks=pytest.mark.e2e),
    ],
)
def test_train_aware_steps_train_for_the_judged_output(run: Run, step: str, options: Any, tmp_path: Path) -> None:
    training = Training(epochs=1, batch_size=32, learning_rate=1e-3)
    manifest = take(run.model, run.data, options, training, tmp_path / "model")
    assert manifest.status == "ok", manifest.reason
    assert "outputs place are not trained for: check what they give" in manifest.steps[-1].warnings
    assert manifest.judged.endswith("scores")
    test = Splits.open(run.data).test
    found = keras_outputs(tmp_path / "model" / SAVED_MODEL, test.x, manifest.judged).argmax(1)
    assert float(np.mean(found == test.y)) > 0.9


@pytest.mark.e2e
def test_the_doctor_names_the_input_whose_preprocessing_is_wrong(run: Run) -> None:
    """The judged output and the leak between splits are looked at; one input is varied at a time."""
    recipes = {"int8": ["int8"], "qat": ["qat", "int8"]}
    data = {"kind": "npz", "uri": str(run.data.parent / "d.npz"), "inputs": INPUTS, "output": "scores"}
    spec = {"name": "two", "model": {"uri": str(run.source)}, "recipes": recipes}
    sound = diagnose(RunSpec.model_validate({**spec, "data": data}))
    assert {finding.level for finding in sound.findings} == {"ok"}
    assert sound.recipes == {"int8": "", "qat": ""}
    for output, answer in (("", "has 2 outputs: place, scores"), ("score", "did you mean 'scores'")):
        with pytest.raises(InputError, match=answer):
            preflight(RunSpec.model_validate({**spec, "data": {**data, "output": output}}))
    wrong = {**data, "inputs": INPUTS | {"picture": {}}}
    (error,) = [
        one for one in diagnose(RunSpec.model_validate({**spec, "data": wrong})).findings if one.level == "error"
    ]
    assert error.fix.startswith("Set data.inputs.picture: {scale: 0.0039")
