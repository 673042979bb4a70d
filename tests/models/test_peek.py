"""Looking into model files: what they say, and the one clear error that each broken one gets."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from litemill.errors import InputError
from litemill.models.backend import tf_keras
from litemill.models.fit import check_fit
from litemill.models.peek import peek
from litemill.models.source import load_source


def archive(path: Path, content: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, member in content.items():
            file.writestr(name, member if isinstance(member, str) else json.dumps(member))
    return path


def functional(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


INPUT = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4, 4, 1], "name": "image"}, "name": "image"}
KERAS2 = {"keras_version": "2.21.0"}
LAMBDA = {"class_name": "Lambda", "config": {"name": "scale"}, "name": "scale"}
WRAPPED = {"class_name": "TimeDistributed", "config": {"layer": LAMBDA}}


def members(config: Any, **more: str) -> dict[str, Any]:
    return {"config.json": config, "metadata.json": KERAS2, **more}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_trained_model_tells_its_shape_and_layers(digits_model: Path, tmp_path: Path, suffix: str) -> None:
    source = digits_model.parent / "digits.keras"
    if suffix == "h5":
        tf_keras().models.load_model(source).save(tmp_path / "digits.h5")
        source = tmp_path / "digits.h5"
    facts = peek(source)
    assert facts.format == ("h5" if suffix == "h5" else "keras2")
    assert facts.class_name == "Functional"
    assert facts.input_shape == (8, 8, 1)
    assert [layer.class_name for layer in facts.layers][:4] == ["InputLayer", "Conv2D", "BatchNormalization", "ReLU"]


def test_shapes_of_sequential_and_nested_models(tmp_path: Path) -> None:
    keras = tf_keras()
    inner = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(3)])
    outer = keras.Sequential([inner, keras.layers.Dense(2)])
    deferred = keras.Sequential([keras.layers.Dense(2)])
    outer(np.zeros((1, 6), np.float32))
    deferred(np.zeros((1, 5), np.float32))
    for model, shape in ((inner, (6,)), (outer, (6,)), (deferred, (5,))):
        model.save(tmp_path / "m.keras")
        assert peek(tmp_path / "m.keras").input_shape == shape
        model.save(tmp_path / "m.h5")
        assert peek(tmp_path / "m.h5").input_shape == shape
    outer.save(tmp_path / "m.keras")
    assert [layer.class_name for layer in peek(tmp_path / "m.keras").layers].count("Dense") == 2


def test_peeking_imports_no_tensorflow(digits_model: Path) -> None:
    code = "import sys; from litemill.models.peek import peek; peek(sys.argv[1]); sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(digits_model.parent / "digits.keras")], check=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"readme.txt": "x"}, "is a zip archive, but not a .keras model"),
        (members(functional(INPUT), **{"../evil": "x"}), "leads out of the archive: '../evil'"),
        (members(functional(INPUT), **{"/evil": "x"}), "leads out of the archive: '/evil'"),
        (members("{"), "its configuration is not JSON"),
        (members("[]"), "its configuration is not a mapping"),
        (members({"a": 1}), "its model configuration is not one that Keras writes"),
        (members(functional(INPUT, LAMBDA)), "layer 'scale' is a Lambda: Python code, which is not loaded"),
        (members(functional(INPUT, WRAPPED)), "layer 'scale' is a Lambda"),
    ],
)
def test_a_bad_archive_gets_one_clear_error(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = archive(tmp_path / "bad.keras", content)
    with pytest.raises(InputError) as answer:
        peek(path)
    assert message in str(answer.value)
    assert str(answer.value).startswith(str(path))
    assert "\n" not in str(answer.value)


def test_missing_foreign_truncated_and_weights_only_files(digits_model: Path, tmp_path: Path) -> None:
    def answer(path: Path) -> str:
        with pytest.raises(InputError) as error:
            peek(path)
        return str(error.value)

    assert "no such file" in answer(tmp_path / "none.keras")
    assert "is a folder without saved_model.pb: no SavedModel" in answer(tmp_path)
    (tmp_path / "x.keras").write_bytes(b"hello world")
    assert "is neither a .keras archive nor an HDF5 file" in answer(tmp_path / "x.keras")
    whole = (digits_model.parent / "digits.keras").read_bytes()
    (tmp_path / "x.keras").write_bytes(whole[: len(whole) // 2])
    assert "is truncated or damaged" in answer(tmp_path / "x.keras")
    flipped = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        flipped[file.getinfo("model.weights.h5").header_offset + 5000] ^= 0xFF
    (tmp_path / "x.keras").write_bytes(flipped)
    assert "is damaged" in answer(tmp_path / "x.keras")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["weights"] = [1.0]
    assert "holds weights only, no model" in answer(tmp_path / "w.h5")
    content = (tmp_path / "w.h5").read_bytes()
    (tmp_path / "w.h5").write_bytes(content[:300])
    assert "is truncated or damaged" in answer(tmp_path / "w.h5")


def test_data_that_does_not_fit_the_model_is_refused(digits_model: Path) -> None:
    facts = peek(digits_model.parent / "digits.keras")
    check_fit(facts, (8, 8, 1), "digits")
    with pytest.raises(InputError, match=r"takes samples of shape \[8, 8, 1\], but those of digits are \[28, 28, 1\]"):
        check_fit(facts, (28, 28, 1), "digits")
    with pytest.raises(InputError, match=r"Add the channel axis to the data"):
        check_fit(facts, (8, 8), "digits")


def test_a_lambda_is_refused_before_keras_sees_it(tmp_path: Path) -> None:
    keras = tf_keras()
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x * 2, name="twice")])
    for name in ("m.h5", "m.keras"):
        model.save(tmp_path / name)
        with pytest.raises(InputError, match=r"layer 'twice' is a Lambda"):
            load_source(tmp_path / name)


def test_an_unknown_layer_is_named(tmp_path: Path) -> None:
    keras = tf_keras()

    class Mystery(keras.layers.Layer):  # type: ignore[misc, name-defined]
        pass

    model = keras.Sequential([keras.layers.Input((4,)), Mystery()])
    model.save(tmp_path / "m.h5")
    with pytest.raises(
        InputError, match=r"m\.h5: layer 'mystery': the class 'Mystery' is not one of Keras 2\. Give a SavedModel"
    ):
        load_source(tmp_path / "m.h5")


def test_a_model_that_was_never_built_is_refused(tmp_path: Path) -> None:
    keras = tf_keras()
    keras.Sequential([keras.layers.Dense(3)]).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match="has no input shape"):
        load_source(tmp_path / "m.keras")
