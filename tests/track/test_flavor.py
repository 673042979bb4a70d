"""The flavor: any `.tflite` becomes a model that MLflow's own tools run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

from litemill.artifacts.proof import DamagedFile
from litemill.errors import ConfigError, InputError
from litemill.track import flavor
from litemill.track.store import tracking_uri
from tests.small_run import LABELS, SCALE, classifier, samples

INTERFACE = {"preprocessing": {"scale": SCALE, "offset": 1.0}, "labels": LABELS, "classes": 3}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.tflite").write_bytes(classifier())
    return tmp_path / "model.tflite"


def test_mlflow_runs_a_saved_file_on_raw_samples(file: Path, tmp_path: Path) -> None:
    flavor.save_model(file, tmp_path / "saved", interface=INTERFACE)
    raw = (samples(4) - 1) / SCALE
    native = flavor.load_model(str(tmp_path / "saved"))
    expected = native.scores(raw)
    wrapped = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    answers = wrapped.predict(raw.astype(np.float32))
    assert list(answers["label"]) == [LABELS[row.argmax()] for row in expected]
    np.testing.assert_allclose(answers["score"], expected.max(axis=1), rtol=1e-5)
    assert np.allclose(native.scores(raw), flavor.open_folder(tmp_path / "saved").scores(raw))
    described = yaml.safe_load((tmp_path / "saved/MLmodel").read_text())
    [tensor] = json.loads(described["signature"]["inputs"])
    assert tensor["tensor-spec"] == {"dtype": "float32", "shape": [-1, 4, 4, 4]}
    example = json.loads((tmp_path / "saved" / described["saved_input_example_info"]["artifact_path"]).read_text())
    assert len(wrapped.predict(np.array(example["inputs"], np.float32))) == 1
    frame = raw.reshape(4, -1)
    np.testing.assert_allclose(native.scores(frame), expected, rtol=1e-5, err_msg="rows of a table")


def test_a_logged_file_is_loaded_by_its_address(file: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    mlflow.set_tracking_uri(tracking_uri())
    try:
        with mlflow.start_run():
            logged = flavor.log_model(file, interface={"task": "regression"}, registered_model_name="plain")
        assert flavor.load_model("models:/plain/1").scores(samples(2)).shape == (2, 3)
        assert mlflow.pyfunc.load_model(logged.model_uri).predict(samples(2)).shape == (2, 3)
    finally:
        mlflow.set_tracking_uri(None)


def test_what_is_not_right_is_told(file: Path, tmp_path: Path) -> None:
    flavor.save_model(file, tmp_path / "saved", interface=INTERFACE)
    model = flavor.load_model(str(tmp_path / "saved"))
    for wrong, message in (
        (np.zeros((2, 3, 3, 4)), r"a sample has shape \[3, 3, 4\], it takes \[4, 4, 4\]"),
        (np.array([["a"]]), "samples are <U1, not numbers"),
        ({"a": samples(1), "b": samples(1)}, "has one input, given were a, b"),
    ):
        with pytest.raises(InputError, match=message):
            model.scores(wrong)
    with pytest.raises(InputError, match="exists already"):
        flavor.save_model(file, tmp_path / "saved")
    with pytest.raises(ConfigError, match="interface"):
        flavor.save_model(file, tmp_path / "other", interface={"labels": 3})
    (tmp_path / "broken.tflite").write_bytes(b"TFL3 nothing")
    with pytest.raises(InputError, match="LiteRT cannot run it"):
        flavor.save_model(tmp_path / "broken.tflite", tmp_path / "other")
    with pytest.raises(InputError, match="is not a model of the flavor tflite"):
        flavor.load_model(str(tmp_path))
    data = bytearray((tmp_path / "saved/model.tflite").read_bytes())
    data[-1] ^= 1
    (tmp_path / "saved/model.tflite").write_bytes(data)
    with pytest.raises(DamagedFile, match="its manifest says"):
        flavor.load_model(str(tmp_path / "saved"))


def test_the_light_image_saves_without_pandas(file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from litemill.track.flavor import save_model, load_model\n"
        f"save_model({str(file)!r}, {str(tmp_path / 'saved')!r}, interface={INTERFACE!r})\n"
        f"assert load_model({str(tmp_path / 'saved')!r}).scores([[[[0.0] * 4] * 4] * 4]).shape == (1, 3)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(mlflow.pyfunc.load_model(str(tmp_path / "saved")).predict(samples(2))) == 2
