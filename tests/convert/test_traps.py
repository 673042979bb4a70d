"""Every trap that the conversion stack sets without a word, one test each: the samples, the file, the target.

Where a check stands before the converter and another behind it, both are tried: the second with the first one off.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.artifacts.layout import SAVED_MODEL, X, Y
from litemill.benchmark.ethos import EthosTarget
from litemill.benchmark.litert import LiteRtTarget
from litemill.benchmark.python_runner import Entry, RunnerOptions
from litemill.benchmark.session import Subject
from litemill.benchmark.tflm import TflmTarget
from litemill.benchmark.transport import LocalTransport
from litemill.config.targets import parse_target
from litemill.convert import calibration, worker
from litemill.convert.findings import Findings
from litemill.data.sampling import FEWEST_CALIBRATION_SAMPLES
from litemill.errors import StepFailed
from litemill.evidence.outcome import Measurement
from litemill.evidence.variant import CalibrationReport
from litemill.runtime import Runner
from litemill.tasks import decisions
from tests.workshop import Array, digits, keras, workshop, write_model

X_ALL, Y_ALL = digits()
NOISE = np.random.default_rng(0).random((100, 8, 8, 1), np.float32)


def with_value(value: float) -> Array:
    x = X_ALL[:40].copy()
    x[3, 2, 1] = value
    return x


def convert(folder: Path, samples: Array, *, train: Array = X_ALL[:1200], model: Path | None = None) -> Findings:
    """Convert the digits model to int8 with samples for calibration, in this process."""
    source, out = model or workshop().model, folder / "model.tflite"
    (folder / "train").mkdir(parents=True, exist_ok=True)
    np.save(folder / "train" / X, train)
    np.save(folder / "train" / Y, Y_ALL[: len(train)])
    np.save(folder / X, samples)
    job = {"name": "int8", "scheme": "int8", "options": {}, "inputs": {"": [-1, 8, 8, 1]}, "output": "", "seed": 0}
    job |= {
        "task": "classification",
        "output_is": "probabilities",
        "others": [],
        "fewest": FEWEST_CALIBRATION_SAMPLES,
        "train": str(folder / "train"),
    }
    paths = {"saved_model": source / SAVED_MODEL, "static_model": source / "static", "out": out}
    paths |= {"calibration": folder / X, "findings": folder / "findings.json"}
    worker.convert(job | {name: str(path) for name, path in paths.items()})
    return Findings.model_validate_json((folder / "findings.json").read_text())


def report(found: Findings) -> CalibrationReport:
    assert found.calibration is not None
    return found.calibration


ROWS: list[tuple[str, Array, Array, str]] = [
    ("noise calibration of another range", NOISE, 2 * X_ALL - 1, r"lie in .*, training samples in \[-1, 1\]"),
    ("calibration preprocessed wrongly", 255 * X_ALL[:100], X_ALL, r"lie in \[0, 255\], training samples in \[0, 1\]"),
    ("one calibration sample", X_ALL[:1], X_ALL, "1 calibration samples, 10 are the least"),
    (
        "NaN in calibration",
        with_value(np.nan),
        X_ALL,
        "1 of 40 calibration samples hold NaN or Inf, the first at index",
    ),
    (
        "Inf in calibration",
        with_value(np.inf),
        X_ALL,
        "1 of 40 calibration samples hold NaN or Inf, the first at index",
    ),
    ("empty calibration generator", X_ALL[:0], X_ALL, "the calibration split is empty"),
    ("all-zero calibration", 0 * X_ALL[:40], X_ALL, "every calibration value is 0"),
    ("raw uint8 bytes", np.uint8(255 * X_ALL[:40]), X_ALL, "calibration samples are uint8, the model takes float32"),
]


@pytest.mark.parametrize(("samples", "train", "answer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_refused_before_the_converter_sees_it(tmp_path: Path, samples: Array, train: Array, answer: str) -> None:
    with pytest.raises(StepFailed, match=answer) as raised:
        convert(tmp_path, samples, train=train)
    assert raised.value.fix
    assert not (tmp_path / "model.tflite").exists()


def test_noise_calibration_of_the_right_range_is_warned_of(tmp_path: Path) -> None:
    answer = report(convert(tmp_path, NOISE))
    assert min(answer.distance.values()) > 0.9
    (warning,) = answer.warnings
    assert warning.startswith("the calibration samples do not look like the training data: mean 0.4")
    assert "roughness 1.1" in warning


def test_few_calibration_samples_are_warned_of_and_enough_are_not(tmp_path: Path) -> None:
    few, enough = (report(convert(tmp_path / str(count), X_ALL[:count])) for count in (10, 100))
    assert few.warnings == ["10 calibration samples: with fewer than 32 the ranges hang on which were drawn"]
    assert (enough.samples, enough.warnings, enough.checked_samples) == (100, [], 256)
    assert enough.kappa is not None and enough.kappa.ci[0] > 0.9 and enough.agreement and enough.agreement > 0.95


@pytest.mark.parametrize(
    ("row", "samples", "answer"),
    [
        ("empty calibration generator", X_ALL[:0], "is float32, int8 was asked"),
        ("all-zero calibration", 0 * X_ALL[:40], r"has scale 0|the calibration data \[0, 0\]"),
    ],
)
def test_caught_behind_the_converter_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, samples: Array, answer: str
) -> None:
    """What the stack makes of them without an error of its own."""
    monkeypatch.setattr(worker, "check_inputs", lambda *args, **more: None)
    monkeypatch.setattr(worker, "compare_inputs", lambda *args, **more: None)
    with pytest.raises(StepFailed, match=answer):
        convert(tmp_path, samples)


def collapsing_model(folder: Path) -> Path:
    """The digits model with one channel of the first activation 30,000 times larger, divided away again behind it.

    Behind it that channel counts for a tenth; one scale for all of them leaves the others no levels.
    """
    source = workshop().keras
    model = keras().models.clone_model(source)
    model.set_weights(source.get_weights())
    norm, depthwise = model.layers[1], model.layers[3]
    gamma, beta, *moments = norm.get_weights()
    kernel, bias = depthwise.get_weights()
    gamma[0], beta[0], kernel[:, :, 0] = 30_000 * gamma[0], 30_000 * beta[0], kernel[:, :, 0] / 300_000
    norm.set_weights([gamma, beta, *moments])
    depthwise.set_weights([kernel, bias])
    return write_model(folder, model)


def test_accuracy_that_collapses_near_chance_fails_and_names_the_layer(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="collapsed: int8 predicts what float32 does on") as raised:
        convert(tmp_path, X_ALL[:100], model=collapsing_model(tmp_path / "source"))
    assert "which is near chance" in str(raised.value)
    assert "re_lu" in str(raised.value) and "loses most" in str(raised.value)
    assert "mixed-int8" in raised.value.fix
    left = Findings.model_validate_json((tmp_path / "findings.json").read_text())
    assert left.sensitivity[0].sqnr_db < 10 < left.sensitivity[-1].sqnr_db
    assert report(left).kappa is not None


def test_noise_that_ruins_the_model_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong range, let through: accuracy is compared on training samples, as noise agrees with itself."""
    monkeypatch.setattr(calibration, "_check_range", lambda *args: None)
    with pytest.raises(StepFailed, match=r"near chance.*do not look like the training data") as raised:
        convert(tmp_path, 0.01 * NOISE)
    assert raised.value.fix == "Calibrate with samples like those the model was trained on"


def test_raw_uint8_bytes_fed_to_an_int8_input() -> None:
    """A plain loop over bytes ruins the accuracy; the Runner quantizes by the tensor's own scale."""
    path, x, y = workshop().tflite("int8"), X_ALL[1200:], Y_ALL[1200:]
    runner = Runner(path, batch=1)
    scale, zero = runner.inputs[""]["quantization"]
    raw = (np.uint8(255 * x).view(np.int8).astype(np.float32) - zero) * np.float32(scale)
    assert np.mean(runner.run(raw).argmax(1) == y) < 0.5 < 0.9 < np.mean(runner.run(x).argmax(1) == y)


def subject(recipe: str) -> Subject:
    found = Subject.of(workshop().manifests[recipe], workshop().tflite(recipe))
    return replace(found, decide=decisions("classification", "probabilities"))


Target = EthosTarget | TflmTarget | LiteRtTarget


def measured(target: Target, recipe: str, samples: Array = X_ALL[:10]) -> Measurement:
    one = subject(recipe)
    return target.measure([one], samples)[one.sha256]


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic"])
def test_vela_on_a_model_that_is_not_int8(recipe: str) -> None:
    found = measured(EthosTarget(parse_target("ethos-u55-128")), recipe)
    assert (found.status, found.latency_ms) == ("failed", {})
    assert found.reason.startswith("no op of it runs on the NPU")


@pytest.mark.parametrize("recipe", ["dynamic", "float16"])
def test_tflm_on_dynamic_range_and_float16_models(recipe: str) -> None:
    found = measured(TflmTarget(parse_target("tflm")), recipe)
    assert (found.status, found.arena_bytes) == ("failed", None)
    assert found.reason.startswith("TFLM refuses it: ")


class SoftwareGpu(LocalTransport):
    """A device that claims to be a GPU and gives the answers of other samples to three of ten."""

    local = False

    def run(
        self, mode: str, entries: list[Entry], options: RunnerOptions, out: Path, time_limit: float
    ) -> dict[str, Any]:
        found = super().run(mode, entries, replace(options, accelerator="cpu"), out, time_limit)
        for entry in entries:
            path = out / f"{entry.key}.npy"
            outputs = np.load(path)
            outputs[:3] = outputs[3:6]
            np.save(path, outputs)
        return found


def test_gpu_with_a_quantized_model_answers_wrongly() -> None:
    target = parse_target({"device": "host", "accelerator": "gpu", "seconds": 0.05})
    found = measured(LiteRtTarget(target, SoftwareGpu()), "int8")
    assert found.status == "failed"
    assert found.reason.startswith("outputs differ by ")
    assert found.parity and not found.parity.ok and found.parity.agreement == pytest.approx(0.7)
